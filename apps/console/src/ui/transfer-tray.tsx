import { isBerthError } from '@berth/client';
import { useComputed, useSignal, useSignalEffect } from '@preact/signals';
import type { JSX } from 'preact';
import { bytes, duration } from '../words/format';
import {
  cancel,
  cancelAll,
  clear,
  dismiss,
  openTransfers,
  type Progress,
  retry,
  type Transfer,
  transfers,
} from '../data/transfers';
import { inWords } from '../words/errors';
import { transferWords } from '../words/transfers';
import { CrossIcon } from './icons';

/** How long the tray stays when all transfers are done, in milliseconds. */
const DONE_MS = 10_000;

/** The transfers of this tab, shown on every page, with their progress and buttons to cancel and retry them. */
export function TransferTray(): JSX.Element {
  const isFolded = useSignal(false);
  const count = transfers.value.length;
  const open = openTransfers.value;
  const hasFailed = transfers.value.some(({ state }) => state.value === 'failed' || state.value === 'cancelled');
  useSignalEffect(() => {
    if (openTransfers.value > 0) return undefined;
    const timer = setTimeout(() => clear({ isDoneOnly: true }), DONE_MS);
    return () => clearTimeout(timer);
  });
  const words =
    open > 0
      ? transferWords.finished({ count: count - open, total: count })
      : hasFailed
        ? transferWords.someFailed
        : transferWords.allFinished;
  return (
    <section class="transfers" aria-label={transferWords.title}>
      <div class="transfers-head">
        <h2>
          <span role="status">{words}</span>
        </h2>
        <button
          type="button"
          class="button quiet slim"
          aria-expanded={!isFolded.value}
          onClick={() => (isFolded.value = !isFolded.value)}
        >
          {isFolded.value ? transferWords.show : transferWords.hide}
        </button>
        {open > 0 ? (
          <button type="button" class="button slim" onClick={cancelAll}>
            {transferWords.cancelAll}
          </button>
        ) : (
          <button type="button" class="button slim" onClick={() => clear({ isDoneOnly: false })}>
            {transferWords.clear}
          </button>
        )}
      </div>
      {!isFolded.value && (
        <ul>
          {transfers.value.map((transfer) => (
            <Row key={transfer.id} of={transfer} />
          ))}
        </ul>
      )}
    </section>
  );
}

function Row({ of }: { readonly of: Transfer }): JSX.Element {
  const { name, place, direction, state, fault } = of;
  const isOpen = state.value === 'waiting' || state.value === 'running';
  // A file appeared in the container after the check: trying again replaces it.
  const again = isBerthError(fault.value, 'precondition_failed') ? transferWords.replace : transferWords.retry;
  const { button, label } = isOpen ? transferWords.cancel : again;
  return (
    <li class="transfer">
      <div class="grow">
        <div class="ellipsis" title={name}>
          <span aria-hidden="true">{direction === 'upload' ? '↑' : '↓'} </span>
          <span class="visually-hidden">{direction === 'upload' ? transferWords.upload : transferWords.download} </span>
          {name}
        </div>
        <div class="ellipsis small muted" title={place}>
          {place}
        </div>
        {isOpen ? <Amount of={of} /> : <Outcome of={of} />}
      </div>
      {(isOpen || state.value !== 'done') && (
        // One button for both, so that it keeps the focus.
        <button
          type="button"
          class="button slim"
          aria-label={label(name)}
          onClick={() => (isOpen ? cancel(of) : retry(of))}
        >
          {button}
        </button>
      )}
      {!isOpen && (
        <button
          type="button"
          class="button quiet icon"
          aria-label={transferWords.dismiss(name)}
          onClick={() => dismiss(of)}
        >
          <CrossIcon />
        </button>
      )}
    </li>
  );
}

function Amount({ of }: { readonly of: Transfer }): JSX.Element {
  const words = useComputed(() =>
    of.state.value === 'waiting' ? transferWords.progress.waiting : inFigures(of.progress.value),
  );
  const share = useComputed(() => shareOf(of.progress.value));
  return (
    <>
      <progress
        aria-label={transferWords.progress.of(of.name)}
        max={1}
        {...(share.value !== null && { value: share.value })}
      />
      <div class="small muted">{words}</div>
    </>
  );
}

function Outcome({ of }: { readonly of: Transfer }): JSX.Element {
  const { state, fault, progress, direction } = of;
  if (state.value === 'cancelled') return <div class="small muted">{transferWords.cancelled}</div>;
  if (state.value === 'failed') {
    const isTaken = isBerthError(fault.value, 'precondition_failed');
    const words = isTaken ? transferWords.nameTaken : inWords(fault.value);
    return <div class="small fault">{words}</div>;
  }
  const said = direction === 'upload' ? transferWords.uploaded : transferWords.downloaded;
  return <div class="small muted">{said(bytes(progress.value.bytes))}</div>;
}

/** @returns null where the size is not known, or all is sent and the answer is awaited */
function shareOf({ bytes, total }: Progress): number | null {
  return total === null || total === 0 || bytes >= total ? null : bytes / total;
}

/** `1.2 MB of 4 MB · 30% · 800 KB/s · 4 s left` */
function inFigures({ bytes: done, total, rate }: Progress): string {
  const words = transferWords.progress;
  if (total !== null && done >= total) return words.finishing;
  const parts = [total === null ? bytes(done) : words.ofTotal({ done: bytes(done), total: bytes(total) })];
  if (total !== null) parts.push(words.percent(String(Math.floor((done / total) * 100))));
  if (rate !== null) parts.push(words.rate(bytes(Math.round(rate))));
  if (rate !== null && rate > 0 && total !== null) parts.push(words.left(duration(Math.max(1, (total - done) / rate))));
  return parts.join(' · ');
}
