// What the Node programs share: the loop over the steps, and the SQL of the matrix.
export const LONG = 'select count(*) from generate_series(1, 100000000000)';
export const MASKED = 'select email from app.customers where id = 7';
export const DENIED = 'grant all on app.orders to public';

export function masked(value) {
  if (!value.startsWith('***@')) throw new Error(`not masked: ${value}`);
}

export async function fails(state, promise) {
  const error = await promise.then(() => new Error('no error'), (raised) => raised);
  if (error.code !== state) throw error;
}

export async function run(steps) {
  const result = {};
  for (const name of ['tls', 'prepared', 'batch', 'copy', 'cancel', 'cursor', 'error', 'masked', 'held', 'denied']) {
    try {
      const answer = await steps[name]();
      result[name] = typeof answer === 'string' ? answer : 'ok';
    } catch (error) {
      console.error(name, error);
      result[name] = String(error);
    }
  }
  console.log(JSON.stringify(result));
}
