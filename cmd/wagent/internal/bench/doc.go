// Package bench measures what many accounts cost, for wagent bench.
//
// [Accounts] has a process of its own hold accounts that are linked devices, as
// wagent serve does, and plays WhatsApp for it from this one, so that only
// wagent is measured. It needs a build with the tag watest, as WhatsApp for
// tests does; other builds have nothing but this comment. It reads /proc.
//
// What is measured has no TLS, which WhatsApp's connections have, and nobody
// writes: it is the cost of being connected.
//
// State lives in a directory that is removed at the end. If the measuring
// process dies, those that hold accounts end by themselves.
package bench
