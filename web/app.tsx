/** The frame of the page: navigation, what is wrong with the connection, and the page that the address names. */

import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { logOut, session } from './api.ts';
import { ActivityPage } from './activity/activity-page.tsx';
import { DoctorPage } from './activity/doctor-page.tsx';
import { ConnectionBanner, RestoreBanner } from './banners.tsx';
import { BoardPage } from './board/board-page.tsx';
import { BoardsPage } from './boards/boards-page.tsx';
import { Login } from './login.tsx';
import { about, connection } from './live.ts';
import { Toast, attempt } from './parts/notice.tsx';
import { PortsPage } from './ports/ports-page.tsx';
import { ChooseRestorePage } from './restore/choose-page.tsx';
import { JobPage } from './restore/job-page.tsx';
import { ProductionPage } from './restore/production-page.tsx';
import { linkTo, route } from './route.ts';
import { theme } from './settings.ts';

interface Page {
  readonly name: string;
  readonly title: string;
  /** Pages that one comes to from others are in no menu. */
  readonly isInMenu: boolean;
  readonly render: (path: readonly string[]) => JSX.Element;
}

const PAGES: readonly Page[] = [
  { name: 'ports', title: 'Ports', isInMenu: true, render: () => <PortsPage /> },
  { name: 'boards', title: 'Boards', isInMenu: true, render: (path) => <Boards path={path} /> },
  { name: 'production', title: 'Production', isInMenu: true, render: () => <ProductionPage /> },
  { name: 'activity', title: 'Activity', isInMenu: true, render: () => <ActivityPage /> },
  { name: 'doctor', title: 'Doctor', isInMenu: true, render: () => <DoctorPage /> },
  { name: 'jobs', title: 'Job', isInMenu: false, render: ([id]) => <JobPage key={id} id={Number(id)} /> },
];

function Boards({ path: [mac, what] }: { path: readonly string[] }) {
  if (mac === undefined) return <BoardsPage />;
  return what === 'restore' ? <ChooseRestorePage key={mac} mac={mac} /> : <BoardPage key={mac} mac={mac} />;
}

export function App() {
  const { value } = session;
  if (value === 'unknown') return <Waiting />;
  if ('missing' in value) return <Login kind={value.missing} />;
  return <Frame />;
}

function Waiting() {
  return (
    <main id="main" class="narrow">
      <h1>espd</h1>
      <p role="status">Looking for the station…</p>
    </main>
  );
}

function Frame() {
  const [name = 'ports', ...path] = route.value.path;
  const page = PAGES.find((one) => one.name === name);
  const title = page?.title ?? 'Not found';
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  useLayoutEffect(() => {
    document.title = `${title} · espd`;
    // Who follows a link with the keyboard goes on reading at what it has brought. Before the next key, not after
    // the picture is drawn: by then that key may have led elsewhere.
    if (!isFirst.current) main.current?.focus();
    isFirst.current = false;
    scrollTo(0, 0);
  }, [title, path.join('/')]);
  return (
    <>
      <a class="skip" href="#main" onClick={skipTo(main)}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={linkTo(['ports'])}>
          espd
        </a>
        <nav aria-label="Pages">
          {PAGES.filter(({ isInMenu }) => isInMenu).map((one) => (
            <a key={one.name} href={linkTo([one.name])} aria-current={one === page ? 'page' : undefined}>
              {one.title}
            </a>
          ))}
        </nav>
        <div class="tools">
          <Lamp />
          <ThemeSwitch />
          <LogOut />
        </div>
      </header>
      <ConnectionBanner />
      <RestoreBanner />
      <main id="main" ref={main} tabIndex={-1}>
        {page === undefined ? <NotFound /> : page.render(path)}
      </main>
      <footer>
        {about.value !== null && (
          <>
            espd {about.value.version} · archive <code>{about.value.archive}</code>
          </>
        )}
      </footer>
      <Toast />
    </>
  );
}

function skipTo(main: { readonly current: HTMLElement | null }) {
  return (event: Event) => {
    // The part behind # is the page.
    event.preventDefault();
    main.current?.focus();
  };
}

function Lamp() {
  const text = { connecting: 'Connecting', live: 'Live', lost: 'No connection' }[connection.value];
  return (
    <span class={`lamp ${connection.value}`} role="status">
      {text}
    </span>
  );
}

const THEMES = ['auto', 'light', 'dark'];

function ThemeSwitch() {
  return (
    <label class="quiet">
      <span class="sr">Colours</span>
      <select value={theme.value} onChange={({ currentTarget }) => (theme.value = currentTarget.value)}>
        {THEMES.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A link of `espd web` opens the page once: who logs out of it could not come back. */
function LogOut() {
  const { value } = session;
  if (value === 'unknown' || 'missing' in value || value.kind !== 'password') return null;
  return (
    <button type="button" class="plain" onClick={() => void attempt(logOut)}>
      Log out
    </button>
  );
}

function NotFound() {
  return (
    <>
      <h1>There is no such page</h1>
      <p>
        <a href={linkTo(['ports'])}>To the ports</a>
      </p>
    </>
  );
}
