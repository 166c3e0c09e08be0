export { OdpError } from "./errors.js";
export { parse } from "./file.js";
export { decodeTokens } from "./payload.js";
export { decodeAlpha } from "./alpha.js";
export { decodeMetadata } from "./chunks.js";
export { readTokenSet } from "./token-set.js";
export { sketch } from "./sketch.js";
