// The module of index.html beside it, which says how it is served.
import { Berth, isBerthError } from './berth.js';

const url = new URLSearchParams(location.search).get('url') ?? location.origin;
const element = (id) => document.getElementById(id);

/** Everything that is shown of other people's making is set as text, never as HTML. */
function rowOf(berth, { db_id: id, name, status, status_reason: reason, progress }) {
  const row = document.createElement('tr');
  row.dataset.id = id;
  const state = progress ? `${progress.message} (${progress.percent}%)` : reason ? `${status} (${reason})` : status;
  for (const text of [name, state]) row.insertCell().textContent = text;
  const actions = row.insertCell();
  const verbs = {
    Start: status === 'stopped' && (() => berth.containers.start(id)),
    Stop: status === 'running' && (() => berth.containers.stop(id)),
    Delete: () => berth.containers.delete(id),
  };
  for (const [label, verb] of Object.entries(verbs)) {
    if (!verb) continue;
    const button = document.createElement('button');
    button.textContent = label;
    button.onclick = () => attempt(button, verb);
    actions.append(button);
  }
  return row;
}

/** The list changes by the event that follows; the answer decides about the button alone. */
async function attempt(button, verb) {
  button.disabled = true;
  element('problem').textContent = '';
  try {
    await verb();
  } catch (error) {
    element('problem').textContent = describe(error);
  } finally {
    button.disabled = false;
  }
}

function describe(error) {
  if (isBerthError(error, 'container_limit_reached')) return `No more than ${error.fields.limit} containers.`;
  if (isBerthError(error, 'unauthorized')) return 'The token is not valid, or has ended.';
  return error.message;
}

function show(token) {
  const berth = new Berth({ url, token });
  const watch = berth.watch();
  const draw = () => {
    const { state, error, containers } = watch.getSnapshot();
    element('state').textContent = error ? describe(error) : state;
    const rows = Array.from(containers.values(), (each) => rowOf(berth, each));
    element('containers').replaceChildren(...rows);
  };
  watch.subscribe(draw);
  draw();
  element('create').onclick = () => attempt(element('create'), () => berth.containers.create({ image: 'sandbox' }));
  element('sign-in').hidden = true;
  element('signed-in').hidden = false;
}

// Of this tab alone, and in no address.
const kept = sessionStorage.getItem('token');
if (kept) show(kept);
element('sign-in').onsubmit = (event) => {
  event.preventDefault();
  const token = new FormData(event.target).get('token');
  sessionStorage.setItem('token', token);
  show(token);
};
