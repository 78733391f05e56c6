/** For `node --import`: the date of the process is wrong by ESPD_TEST_CLOCK_MS, as on a machine whose clock is. */

const wrongMs = Number(process.env.ESPD_TEST_CLOCK_MS);
const RightDate = globalThis.Date;

globalThis.Date = class Date extends RightDate {
  constructor(...parts) {
    if (parts.length === 0) super(RightDate.now() + wrongMs);
    else super(...parts);
  }

  static now() {
    return RightDate.now() + wrongMs;
  }
};
