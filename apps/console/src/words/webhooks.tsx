import type { JSX } from 'preact';
import { counted } from './format';

/** Webhooks and their deliveries. */
export const webhookWords = {
  title: 'Webhooks',
  titleForAll: 'Global webhooks',
  about: 'Send events to your own server',
  new: 'New webhook',
  caption: 'Webhooks, newest first',
  columns: { receiver: 'Receiver', waiting: 'Waiting' },
  empty: {
    title: 'No webhooks',
    text: 'A webhook sends events to your server, signed and in order.',
    noneAllowed: (tier: string) => `Your tier “${tier}” does not include webhooks.`,
  },
  allEvents: 'all events',
  more: (host: string) => `More for ${host}`,
  pause: 'Pause',
  activate: 'Activate',

  states: {
    active: 'Active',
    paused: 'Paused',
    disabled: 'Disabled',
    failing: 'Failing',
    failingFor: (time: JSX.Element) => <>for {time}</>,
  },
  test: {
    action: 'Test',
    label: (host: string) => `Test ${host}`,
    outcome: {
      pending: 'The test is sent after earlier messages.',
      accepted: (status: string) => `The test was accepted with ${status}.`,
      refused: (why: string) => `The test was not accepted: ${why}.`,
    },
  },
  secret: {
    title: (host: string) => `Secret of ${host}`,
    text: 'Shown only once. The receiver uses it to verify messages.',
    label: 'Secret',
    done: 'Done',
  },
  replace: {
    item: 'Replace secret',
    title: (host: string) => `Replace the secret of ${host}?`,
    text: 'Messages are signed with both secrets for one day. Update the receiver by then.',
    action: 'Replace',
  },
  remove: {
    title: (host: string) => `Delete the webhook to ${host}?`,
    text: 'It no longer receives events.',
    textWithWaiting: (waiting: number) => `${counted(waiting, 'pending message')} will not be sent.`,
  },
  create: {
    url: 'URL',
    urlHint: 'An HTTPS address that this server can reach',
    events: 'Events',
    eventsHint: 'One per line, e.g. container_started. Leave empty for all',
    labels: 'Labels',
    labelsHint: 'One per line, e.g. team=core. Only containers with these labels',
  },

  deliveries: {
    title: 'Deliveries',
    back: 'Back to webhooks',
    caption: 'Deliveries, newest first',
    columns: { event: 'Event', answer: 'Response', attempts: 'Attempts', emitted: 'Emitted' },
    empty: { title: 'No deliveries', text: 'Deliveries are listed while their events are kept.' },
    states: { pending: 'Pending', delivered: 'Delivered', failed: 'Failed', lost: 'Lost' },
    message: 'Message',
    nextTry: (time: JSX.Element) => <>retry {time}</>,
    answered: (status: string) => `responded with ${status}`,
    answerText: 'Response body',
    took: (time: string) => `in ${time}`,
    again: 'Send again',
    againLabel: (event: string) => `Send again: ${event}`,
    outcome: {
      pending: 'The message is sent after earlier messages.',
      accepted: (status: string) => `The message was accepted with ${status}.`,
      refused: (why: string) => `The message was not accepted: ${why}.`,
    },
  },
};

/** Why a message got no answer, by the delivery's `error`. */
const ERRORS: Readonly<Record<string, string>> = {
  address_refused: 'address refused',
  name_not_resolved: 'name not resolved',
  connection_refused: 'connection refused',
  connection_failed: 'connection failed',
  certificate_refused: 'certificate refused',
  timed_out: 'timed out',
};

/** Where events were lost, the server says so in a sentence. */
export const deliveryErrorInWords = (error: string): string => ERRORS[error] ?? error.replaceAll('_', ' ');
