/** Sounds for people who do not look: a board may be unplugged, or something failed. Only on request. */

import { onEvent } from '../live.ts';
import { sound } from '../settings.ts';

/** Hz, one after the other. */
const TUNES = { done: [660, 880], failed: [330, 220] } as const;
const TONE_SECONDS = 0.16;

let audio: AudioContext | undefined;

export function chime(tune: keyof typeof TUNES): void {
  // A browser lets a page sound only once somebody has touched it.
  audio ??= new AudioContext();
  void audio.resume();
  const { currentTime, destination } = audio;
  for (const [index, hertz] of TUNES[tune].entries()) {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    const begin = currentTime + index * TONE_SECONDS;
    tone.frequency.value = hertz;
    volume.gain.setValueAtTime(0, begin);
    volume.gain.linearRampToValueAtTime(0.25, begin + 0.02);
    volume.gain.linearRampToValueAtTime(0, begin + TONE_SECONDS);
    tone.connect(volume).connect(destination);
    tone.start(begin);
    tone.stop(begin + TONE_SECONDS);
  }
}

export function followWithSound(): void {
  onEvent((event) => {
    if (sound.value !== 'on') return;
    if (event.type === 'job-ended' && event.result === 'done') chime('done');
    if (event.type === 'job-failed' && event.isNews && event.failure !== 'stopped') chime('failed');
  });
}
