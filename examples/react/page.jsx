// A page with a list of containers that is always right. With React, Vite or any other bundler:
//   npm install react react-dom
import { Berth, isBerthError } from '@berth/client';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useContainers } from './use-containers.js';

const berth = new Berth({ url: 'http://127.0.0.1:8080', token: sessionStorage.getItem('token') });

function Page() {
  const { state, error, containers } = useContainers(berth);
  const [problem, setProblem] = useState('');
  const attempt = (what) => () => what().catch((failure) => setProblem(describe(failure)));
  return (
    <main>
      <p>{error ? describe(error) : state}</p>
      <p role="alert">{problem}</p>
      <button onClick={attempt(() => berth.containers.create({ image: 'sandbox' }))}>Create</button>
      <ul>
        {[...containers.values()].map(({ db_id: id, name, status, progress }) => (
          <li key={id}>
            {name}: {progress ? `${progress.message} (${progress.percent}%)` : status}
            <button onClick={attempt(() => berth.containers.start(id))}>Start</button>
            <button onClick={attempt(() => berth.containers.stop(id))}>Stop</button>
            <button onClick={attempt(() => berth.containers.delete(id))}>Delete</button>
          </li>
        ))}
      </ul>
    </main>
  );
}

function describe(failure) {
  if (isBerthError(failure, 'container_limit_reached')) return `No more than ${failure.fields.limit} containers.`;
  return failure.message;
}

createRoot(document.getElementById('page')).render(<Page />);
