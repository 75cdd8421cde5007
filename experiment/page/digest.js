/** SHA-256 (FIPS 180-4) in hex. crypto.subtle is not there in a lab network without TLS, and this guards against damage
 * on the way, so there is one way for all. */

const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
/** The first 32 bits behind the point of a root of each prime. */
const roots = (power, count) => primes.slice(0, count).map((prime) => ((prime ** power % 1) * 2 ** 32) | 0);
const K = roots(1 / 3, 64);
const turn = (x, n) => (x >>> n) | (x << (32 - n));

export function sha256(buffer) {
  const length = buffer.byteLength;
  const bytes = new Uint8Array((((length + 8) >> 6) + 1) << 6);
  bytes.set(new Uint8Array(buffer));
  bytes[length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setUint32(bytes.length - 8, Math.floor(length / 2 ** 29));
  view.setUint32(bytes.length - 4, length << 3);
  const w = new Int32Array(64);
  const sum = Int32Array.from(roots(1 / 2, 8));
  for (let start = 0; start < bytes.length; start += 64) {
    for (let i = 0; i < 64; i++) {
      if (i < 16) w[i] = view.getInt32(start + 4 * i);
      else {
        const [x, y] = [w[i - 15], w[i - 2]];
        w[i] = w[i - 16] + w[i - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
      }
    }
    let [a, b, c, d, e, f, g, h] = sum;
    for (let i = 0; i < 64; i++) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => (sum[i] += value));
  }
  return Array.from(sum, (value) => (value >>> 0).toString(16).padStart(8, "0")).join("");
}
