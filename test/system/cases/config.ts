/** The config of the installed service, changed for a while. */

import type { Lab } from '../lab.ts';

export const CONFIG = '/etc/espd/config.yaml';

/** Runs `work` with a config of just this YAML, with which the daemon is restarted. Afterwards it has the old one. */
export async function withConfig(lab: Lab, yaml: string, work: () => Promise<void>): Promise<void> {
  await keepingConfig(lab, async () => {
    await lab.guest.check(`echo '${yaml}' > ${CONFIG}`);
    await lab.restartDaemon();
    await work();
  });
}

/** Puts the config back as it was after `work`, and waits until the daemon has taken it over, which must run then. */
export async function keepingConfig(lab: Lab, work: () => Promise<void>): Promise<void> {
  const kept = `${CONFIG}.kept`;
  await lab.guest.check(`cp -p ${CONFIG} ${kept}`);
  await work();
  const reloaded = lab.journal.next(/Config reloaded/);
  await lab.guest.check(`mv ${kept} ${CONFIG}; systemctl reload espd`);
  await reloaded;
}
