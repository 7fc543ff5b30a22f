/** Runs asynchronous tasks one after the other; one that fails does not stop those behind it. */
export class SerialQueue {
  #tail = Promise.resolve();

  /**
   * @template T
   * @param {() => Promise<T> | T} task
   * @returns {Promise<T>} the task's own outcome
   */
  run(task) {
    const result = this.#tail.then(task);
    this.#tail = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}
