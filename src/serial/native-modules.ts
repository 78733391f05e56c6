/** Whether the packages with native code load on this machine: a wrong architecture, C library or installation shows here. */

export interface NativeModule {
  readonly name: 'serialport' | 'usb' | 'koffi';
  /** First line of the reason why it does not load; null where it does. */
  readonly fault: string | null;
}

/** Loads each, opening nothing. Never rejects. */
export async function loadNativeModules(
  load: (name: NativeModule['name']) => Promise<unknown> = importModule,
): Promise<NativeModule[]> {
  const names: NativeModule['name'][] = ['serialport', 'usb', 'koffi'];
  return Promise.all(
    names.map(async (name) => {
      try {
        await load(name);
        return { name, fault: null };
      } catch (error) {
        const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
        return { name, fault: line === '' ? 'unknown fault' : line };
      }
    }),
  );
}

function importModule(name: NativeModule['name']): Promise<unknown> {
  switch (name) {
    case 'serialport':
      return import('serialport');
    case 'usb':
      return import('usb');
    case 'koffi':
      return import('koffi');
  }
}
