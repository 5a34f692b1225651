/**
 * C structs, declared once: `struct({ p_type: u32, p_offset: u64 })` gives the TypeScript type, the
 * size, the field offsets, a reader and a writer. Fields follow each other without padding, as all
 * structs of ELF and Mach-O do; a struct with padding declares it as a field.
 *
 * Table-driven on purpose: about 100 ns a struct, with no code generation (a strict CSP in a browser
 * refuses `new Function`). Keep it out of loops that run once a page or once a byte.
 *
 * @module
 */

/** One fixed-size field: how many bytes, and how to get and set it. `le`: little-endian. */
export interface Field<T> {
  readonly size: number;
  get(view: DataView, at: number, le: boolean): T;
  set(view: DataView, at: number, value: T, le: boolean): void;
}

export const u8: Field<number> = {
  size: 1,
  get: (view, at) => view.getUint8(at),
  set: (view, at, value) => view.setUint8(at, value),
};

export const u16: Field<number> = {
  size: 2,
  get: (view, at, le) => view.getUint16(at, le),
  set: (view, at, value, le) => view.setUint16(at, value, le),
};

export const u32: Field<number> = {
  size: 4,
  get: (view, at, le) => view.getUint32(at, le),
  set: (view, at, value, le) => view.setUint32(at, value, le),
};

export const i32: Field<number> = {
  size: 4,
  get: (view, at, le) => view.getInt32(at, le),
  set: (view, at, value, le) => view.setInt32(at, value, le),
};

export const u64: Field<bigint> = {
  size: 8,
  get: (view, at, le) => view.getBigUint64(at, le),
  set: (view, at, value, le) => view.setBigUint64(at, value, le),
};

export const i64: Field<bigint> = {
  size: 8,
  get: (view, at, le) => view.getBigInt64(at, le),
  set: (view, at, value, le) => view.setBigInt64(at, value, le),
};

/** `unsigned char name[length]`, copied in both directions. A shorter value is padded with zeros. */
export const bytes = (length: number): Field<Uint8Array> => ({
  size: length,
  get: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
  set: (view, at, value) => {
    const target = new Uint8Array(view.buffer, view.byteOffset + at, length);
    target.fill(0);
    target.set(value.subarray(0, length));
  },
});

/** `T name[count]`. */
export const array = <T>(field: Field<T>, count: number): Field<T[]> => ({
  size: field.size * count,
  get: (view, at, le) => Array.from({ length: count }, (_, i) => field.get(view, at + i * field.size, le)),
  set: (view, at, value, le) => {
    for (const [i, item] of value.slice(0, count).entries()) field.set(view, at + i * field.size, item, le);
  },
});

type Fields = Record<string, Field<unknown>>;

/** The value type of a set of fields. */
export type FieldValues<F> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** The value type of a struct: `type Elf64_Phdr = Value<typeof Elf64_Phdr>`. */
export type Value<S> = S extends Struct<infer F> ? FieldValues<F> : never;

/** A declared struct; itself a `Field`, so that structs nest. */
export interface Struct<F> extends Field<FieldValues<F>> {
  /** Byte offset of each field. */
  readonly offsets: { readonly [K in keyof F]: number };
  /** Reads the struct at byte `at`; the caller has checked that `size` bytes are there. */
  read(view: DataView, at: number, le: boolean): FieldValues<F>;
  /** Writes the struct at byte `at`. */
  write(view: DataView, at: number, value: FieldValues<F>, le: boolean): void;
  /** The struct as bytes of its own. */
  encode(value: FieldValues<F>, le: boolean): Uint8Array;
}

/** Declares a struct from its fields, in order. */
export function struct<F extends { [K in keyof F]: Field<never> | Field<unknown> }>(fields: F): Struct<F> {
  const entries = Object.entries(fields as Fields);
  const offsets: Record<string, number> = {};
  let size = 0;
  for (const [name, field] of entries) {
    offsets[name] = size;
    size += field.size;
  }

  const read = (view: DataView, at: number, le: boolean): FieldValues<F> => {
    const value: Record<string, unknown> = {};
    let offset = at;
    for (const [name, field] of entries) {
      value[name] = field.get(view, offset, le);
      offset += field.size;
    }
    return value as FieldValues<F>;
  };

  const write = (view: DataView, at: number, value: FieldValues<F>, le: boolean): void => {
    let offset = at;
    for (const [name, field] of entries) {
      field.set(view, offset, (value as Record<string, unknown>)[name], le);
      offset += field.size;
    }
  };

  const encode = (value: FieldValues<F>, le: boolean): Uint8Array => {
    const out = new Uint8Array(size);
    write(viewOf(out), 0, value, le);
    return out;
  };

  return { size, offsets: offsets as { [K in keyof F]: number }, read, write, encode, get: read, set: write };
}

/** A `DataView` of exactly these bytes. */
export const viewOf = (data: Uint8Array): DataView =>
  new DataView(data.buffer, data.byteOffset, data.byteLength);
