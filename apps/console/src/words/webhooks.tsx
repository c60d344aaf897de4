import type { JSX } from 'preact';
import { counted } from './format';

/** Webhooks and their deliveries. */
export const webhookWords = {
  title: 'Webhooks',
  titleForAll: 'Webhooks for everybody’s events',
  about: 'Where events are sent',
  new: 'New webhook',
  caption: 'Webhooks, the newest first',
  columns: { receiver: 'Receiver', waiting: 'Waiting' },
  empty: {
    title: 'No webhooks',
    text: 'A webhook sends events to a server of your own, signed and in order.',
    noneAllowed: (tier: string) => `Your tier “${tier}” allows none.`,
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
    failingSince: (time: JSX.Element) => <>since {time}</>,
  },
  test: {
    action: 'Test',
    label: (host: string) => `Test ${host}`,
    outcome: {
      pending: 'The test is sent after the messages before it.',
      accepted: (status: string) => `The test was accepted with ${status}.`,
      refused: (why: string) => `The test was not accepted: ${why}.`,
    },
  },
  secret: {
    title: (host: string) => `Secret of ${host}`,
    text: 'It is shown this once. The receiver verifies with it that messages come from here.',
    label: 'The secret',
    done: 'Done',
  },
  replace: {
    item: 'Replace the secret',
    title: (host: string) => `Replace the secret of ${host}?`,
    text: 'For a day messages are signed with both secrets. Give the new one to the receiver until then.',
    action: 'Replace',
  },
  remove: {
    title: (host: string) => `Delete the webhook to ${host}?`,
    text: 'No more events are sent to it.',
    textWithWaiting: (waiting: number) => `${counted(waiting, 'message')} that waited will not be sent.`,
  },
  create: {
    url: 'URL',
    urlHint: 'An https address that this server reaches',
    events: 'Events',
    eventsHint: 'One per line: container_started. All if empty',
    labels: 'Labels',
    labelsHint: 'One per line: team=core. Then only events of containers with these labels',
  },

  deliveries: {
    title: 'Deliveries',
    back: 'Back to webhooks',
    caption: 'Deliveries, the newest first',
    columns: { event: 'Event', answer: 'Answer', attempts: 'Attempts', emitted: 'Emitted' },
    empty: { title: 'No deliveries', text: 'They are listed as long as their events are kept.' },
    states: { pending: 'Pending', delivered: 'Delivered', failed: 'Failed', lost: 'Lost' },
    message: 'Message',
    nextTry: (time: JSX.Element) => <>again {time}</>,
    answered: (status: string) => `answered with ${status}`,
    answerText: 'Response body',
    took: (time: string) => `in ${time}`,
    again: 'Send again',
    againLabel: (event: string) => `Send again: ${event}`,
    outcome: {
      pending: 'The message is sent after the messages before it.',
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
