/** The steps of a restore, and at which of them somebody is. */

const STEPS = ['Choose', 'Look at the plan', 'Write', 'Confirmed by the chip'];

export function Steps({ at }: { at: 0 | 1 | 2 | 3 }) {
  return (
    <ol class="steps" aria-label="Steps of the restore">
      {STEPS.map((name, index) => (
        <li
          key={name}
          class={index < at ? 'past' : index === at ? 'now' : ''}
          aria-current={index === at ? 'step' : undefined}
        >
          {name}
        </li>
      ))}
    </ol>
  );
}
