/** The config of the installed service, changed for a while. */

import type { Lab } from '../lab.ts';

export const CONFIG = '/etc/espd/config.yaml';

/** Runs `work` with a config of just this YAML; the daemon is restarted with it, and with the old one afterwards. */
export async function withConfig(lab: Lab, yaml: string, work: () => Promise<void>): Promise<void> {
  await keepingConfig(lab, async () => {
    await lab.guest.check(`echo '${yaml}' > ${CONFIG}`);
    await lab.restartDaemon();
    await work();
  });
  await lab.restartDaemon();
}

/** Puts the config back as it was, whatever `work` did to it. */
export async function keepingConfig(lab: Lab, work: () => Promise<void>): Promise<void> {
  const kept = `${CONFIG}.kept`;
  await lab.guest.check(`cp -p ${CONFIG} ${kept}`);
  try {
    await work();
  } finally {
    await lab.guest.check(`mv ${kept} ${CONFIG}`);
  }
}
