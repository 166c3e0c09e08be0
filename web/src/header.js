/** The header of a file: docs/format.md, sections "Header" and "Version 1". */

import { BitReader } from "./bits.js";
import { crc8 } from "./checksum.js";
import { OdpError, damaged } from "./errors.js";
import { TILE, canBeScaled } from "./grid.js";

/** The token set `onedpiece-1`, by the first 3 bytes of its SHA-256. */
export const DEFAULT_TOKEN_SET = "97ace4";

const MAGIC = [0x9d, 0x50];
const MAX_SIDE = 32768;
const READERS = [null, readVersion1, readVersion2];
const NATIVE = 0;
const SCALED = 1;
const OVERLAPPING = 2;
const EXPLICIT = 9; // codes of the number of tokens
const WITH_ALLOCATION = 10;

/**
 * The header, and the position of the byte after it. Throws an OdpError.
 * @param {Uint8Array} data the file
 */
export function readHeader(data) {
  checkMagic(data);
  const bits = new BitReader(data, MAGIC.length, "the header");
  const version = bits.read(4);
  const readFields = READERS[version];
  if (!readFields) {
    const what = `format version ${version}, or the header is damaged`;
    throw new OdpError("unsupported", `the file needs a newer reader: ${what}`);
  }
  const mustRefuse = bits.readFlag();
  const [entropyCoded, grey, hasChunks] = [bits.readFlag(), bits.readFlag(), bits.readFlag()];
  const { reserved, canonical, ...fields } = readFields(bits);
  const padded = bits.align();
  const end = bits.nextByte + 1;
  if (bits.read(8) !== crc8(data.subarray(0, end - 1))) {
    throw damaged("the checksum of the header does not match");
  }
  if (mustRefuse || reserved) throw new OdpError("unsupported", "the file needs a newer reader");
  const header = { version, ...fields, grey, entropyCoded, hasChunks };
  const { width, height, density } = header;
  if (density * Math.max(width, height) > MAX_SIDE) {
    throw new OdpError("too-large", `${width}x${height} pixels at density ${density} are too many`);
  }
  if (!canonical || !padded || !layoutFits(header)) {
    throw damaged("the header is not in its canonical form");
  }
  return { header, end };
}

function checkMagic(data) {
  if (data.length === 0) throw new OdpError("not-odp", "the file is empty");
  if (MAGIC.some((octet, index) => index < data.length && data[index] !== octet)) {
    throw new OdpError("not-odp", "not a One-D-Piece picture");
  }
}

// A reader of fields also tells whether one of them is reserved, and whether they are in the only
// form that a writer may choose.

function readVersion1(bits) {
  const tokenSet = readFingerprint(bits);
  let size = { width: TILE, height: TILE };
  let [layout, overlap, hasAllocation] = [NATIVE, 0, false];
  const long = bits.readFlag();
  if (long) {
    size = readSize(bits);
    [layout, overlap, hasAllocation] = [bits.read(2), 8 * bits.read(4), bits.readFlag()];
  }
  const explicit = bits.readFlag();
  const tokensPerTile = explicit ? bits.read(8) + 1 : 2 << bits.read(3);
  return {
    ...size,
    density: 1,
    tokensPerTile,
    tokenSet,
    overlap,
    scaled: layout === SCALED,
    hasAllocation,
    reserved: layout > SCALED,
    canonical:
      !(long && isTile(size)) &&
      !(explicit && isPowerOfTwo(tokensPerTile) && tokensPerTile > 1),
  };
}

function readVersion2(bits) {
  const named = bits.readFlag();
  const long = bits.readFlag();
  const density = bits.read(2) + 1;
  const code = bits.read(4);
  const tokenSet = named ? readFingerprint(bits) : DEFAULT_TOKEN_SET;
  const explicit = code === EXPLICIT || code === WITH_ALLOCATION;
  const tokensPerTile = explicit ? bits.read(8) + 1 : 1 << code;
  let size = { width: TILE, height: TILE };
  let [layout, overlap] = [density > 1 ? SCALED : NATIVE, 0];
  if (long) {
    size = readSize(bits);
    layout = bits.read(2);
    if (layout === OVERLAPPING) overlap = 8 * bits.read(4);
  }
  const hasAllocation = code === WITH_ALLOCATION;
  return {
    ...size,
    density,
    tokensPerTile,
    tokenSet,
    overlap,
    scaled: layout === SCALED,
    hasAllocation,
    reserved: layout > OVERLAPPING || code > WITH_ALLOCATION,
    canonical:
      !(named && tokenSet === DEFAULT_TOKEN_SET) &&
      !(long && isTile(size)) &&
      !(code === EXPLICIT && isPowerOfTwo(tokensPerTile)) &&
      !(hasAllocation && isTile(size) && density === 1) &&
      !(layout === OVERLAPPING && overlap === 0),
  };
}

function readFingerprint(bits) {
  return bits.read(24).toString(16).padStart(6, "0");
}

function readSize(bits) {
  const width = bits.readExpGolomb(8) + 1;
  return { width, height: bits.readExpGolomb(8) + 1 };
}

const isTile = ({ width, height }) => width === TILE && height === TILE;
const isPowerOfTwo = (number) => (number & (number - 1)) === 0;

function layoutFits({ width, height, density, scaled, overlap }) {
  if (density > 1) return scaled && overlap === 0;
  return !scaled || (overlap === 0 && canBeScaled(width, height));
}
