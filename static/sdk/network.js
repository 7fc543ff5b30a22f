/**
 * Tells when this machine probably has another network than before.
 * @param {() => void} changed
 * @returns {() => void} stops telling
 */
export function watchNetwork(changed) {
  const connection = globalThis.navigator?.connection;
  let type = connection?.type;
  // `change` also tells of every new estimate of speed: only another kind of network matters here.
  const kindChanged = () => {
    if (connection.type !== type) changed();
    type = connection.type;
  };
  globalThis.addEventListener('online', changed);
  connection?.addEventListener('change', kindChanged);
  return () => {
    globalThis.removeEventListener('online', changed);
    connection?.removeEventListener('change', kindChanged);
  };
}
