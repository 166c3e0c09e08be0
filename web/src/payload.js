/** The tokens of a file: docs/format.md, section "Payload". */

import { sequence } from "./allocation.js";
import { OdpError, damaged } from "./errors.js";
import { parse } from "./file.js";
import { decodeRanks } from "./range-decoder.js";

const TOKEN_BITS = 12;

/**
 * Reads a file and its tokens, as far as these have arrived.
 *
 * A token set is needed only where the tokens are range coded. Memory grows with the bytes that
 * are present, not with the number of tokens that the file announces. Throws an OdpError.
 * @param {Uint8Array | ArrayBuffer} bytes the file; its end may be missing
 * @param {import("./token-set.js").TokenSet} [tokenSet]
 * @param {{maxPixels?: number}} [options] as of `parse`
 */
export function decodeTokens(bytes, tokenSet, options) {
  const file = parse(bytes, options);
  const { header, grid, allocation, payload } = file;
  const { total } = allocation;
  const tables = header.entropyCoded ? tablesOf(header.tokenSet, tokenSet) : null;
  const most = tables ? tables.most(payload.length) : (8 * payload.length) / TOKEN_BITS;
  const order = sequence(allocation, grid.count, Math.min(total, Math.floor(most)));
  const stream = tables
    ? readCoded(payload, order.position, total, tables)
    : readPlain(payload, order.position.length, total);
  return {
    ...file,
    tokens: distribute(stream, order.tile, grid.count),
    arrived: stream.length,
    isTruncated: stream.length < total,
  };
}

function tablesOf(key, tokenSet) {
  if (!tokenSet?.keys.includes(key)) {
    throw new OdpError("unknown-token-set", `the file needs the token set ${key}`);
  }
  if (tokenSet.tables) return tokenSet.tables;
  throw damaged("the token set has no tables for coded tokens");
}

/** Tokens of 12 bits. */
function readPlain(data, arrived, total) {
  if (data.length > plainSize(total)) throw damaged("there are bytes after the last token");
  if (arrived === total && total % 2 && data[data.length - 1] & 0xf) {
    throw damaged("the padding after the last token is not zero");
  }
  return Uint16Array.from({ length: arrived }, (_, index) => {
    const place = (3 * index) >> 1;
    return index % 2
      ? ((data[place] & 0xf) << 8) | data[place + 1]
      : (data[place] << 4) | (data[place + 1] >> 4);
  });
}

/** Tokens of the range coder. */
function readCoded(data, positions, total, tables) {
  const { ranks, exact } = decodeRanks(data, positions, tables);
  if (data.length >= plainSize(total) || (ranks.length === total && !exact)) {
    throw damaged("the tokens are damaged, or there are bytes after the last one");
  }
  return ranks.map((rank, index) => tables.at[positions[index]].codes?.[rank] ?? rank);
}

/** The tokens of each tile, in order. */
function distribute(stream, tileOf, tiles) {
  const tokens = Array.from({ length: tiles }, () => []);
  stream.forEach((token, index) => tokens[tileOf[index]].push(token));
  return tokens.map((ofTile) => Uint16Array.from(ofTile));
}

const plainSize = (total) => Math.ceil((total * TOKEN_BITS) / 8);
