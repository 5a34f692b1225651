/**
 * A list of byte offsets that grows: tens of millions of them, at 8 bytes each.
 *
 * @module
 */
export class OffsetList {
  #values = new Float64Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Float64Array(this.#length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  /** What was pushed, in a buffer of just that size. */
  finish(): Float64Array {
    return this.#values.slice(0, this.#length);
  }
}
