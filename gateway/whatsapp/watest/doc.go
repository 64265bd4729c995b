// Package watest is a WhatsApp server for tests, on the real wire: a client of
// go.mau.fi/whatsmeow cannot tell that it is not connected to WhatsApp. People
// and phones are played by the server, as a script says:
//
//	s := watest.New()
//	defer s.Close()
//	watest.Attach(cli, s.Addr()) // before cli connects
//
//	phone := s.Phone("491510000001")
//	device, err := phone.Link(qr) // the client's QR code; or phone.EnterCode(code)
//	ada := s.Contact("491510000002", watest.LID("77000000000002"), watest.Name("Ada"))
//	hello := ada.Text("hello")
//	err = hello.Acked(ctx)                // the client has handled it
//	answer, err := s.Expect(ada).Text(ctx) // what the client sent her, decrypted
//	s.CutBefore(device, "receipt")        // the next receipt never arrives
//	s.Refuse(device, 402, time.Hour)      // banned for an hour
//
// It exists only in builds with the tag watest. Such a build trusts a root
// whose private key stands in this package once New or Attach was called:
// whatsmeow.WACertPubKey is one variable for the whole process. Never ship one.
//
// # Protocol
//
//	client                                   server                       people
//	  │ ── WebSocket /ws/chat ──────────────▶ │                             │
//	  │ ── WA 06 03, Noise XX: e ───────────▶ │                             │
//	  │ ◀── e, ee, s, es, certificate chain ─ │  root ▷ intermediate ▷ leaf │
//	  │ ── s, se, ClientPayload ────────────▶ │                             │
//	  │   (from here on sealed binary XML)    │                             │
//	  │ ◀── pair-device: 6 refs ───────────── │  unknown client             │
//	  │     QR │ code │ passkey               │ ◀── Link, EnterCode ─────── │
//	  │ ◀── pair-success ──────────────────── │                             │
//	  │ ── pair-device-sign ────────────────▶ │                             │
//	  │ ◀── stream:error 515, and again from the top, now with a name       │
//	  │ ◀── success │ failure ─────────────── │  Refuse, Admit              │
//	  │ ── prekeys, active ─────────────────▶ │                             │
//	  │ ◀── offline_preview, backlog, offline │                             │
//	  │ ◀── message ───────────────────────── │ ◀── Text, Poll, Voice … ─── │
//	  │ ── receipt (the message is settled) ▶ │ ──▶ Expect().Receipt        │
//	  │ ── usync, prekey bundles ───────────▶ │                             │
//	  │ ── message ─────────────────────────▶ │ ──▶ Expect().Text           │
//	  │ ◀── ack │ ack with error (Nack) ───── │                             │
//	  │ ── retry receipt ───────────────────▶ │  encrypts it anew           │
//	  │ ◀── stream:error, or nothing at all ─ │  Replace, Unlink, Cut       │
//
// # Guarantees
//
//   - What a person sends to a device is kept, in order, until the device
//     acknowledges it with a receipt or an ack, and comes again at every login
//     until then. A retry receipt acknowledges nothing.
//   - Signatures, MACs, hashes and counters are checked as WhatsApp's apps check
//     them: a client with a wrong key is refused.
//   - A method that only says what happens does not wait for clients. Those that
//     wait take a context, and name what did not come.
//   - Close leaves nothing running. Several servers in a process do not meet.
//
// State lives in memory and ends with the process. A client in another process,
// killed and restarted, finds everything as it left it. The package does not
// import testing.
//
// # What is not WhatsApp
//
// Nothing here was compared with WhatsApp's servers; it follows whatsmeow's
// source and what is public. In particular nobody verified:
//
//   - what WhatsApp does with a message that stays unacknowledged while the
//     connection stands (here: nothing until the next login), after how long it
//     gives up (here: never), and whether it comes again before active is sent;
//   - whether it drops a second message with the same id (here: both arrive, and
//     only the same frame twice counts as a duplicate);
//   - which receipts settle a message of the own phone: here type sender does,
//     and peer_msg and hist_sync do not;
//   - the answers to wrong pairing codes, assertions and stanzas (here: 400), and
//     whether a phone can offer a passkey after a pairing code (here: not);
//   - the text of refusals, the location and other attributes that whatsmeow does
//     not read, and the policy behind 463 and 479: Nack has no rules of its own;
//   - permessage-deflate: the server never accepts it.
//
// Known to differ: after a failure or a stream error the server waits, up to
// 5 s, until the client has acknowledged an empty notification, so that the
// client surely saw the reason. WhatsApp hangs up. Phones here answer no request
// for a message that the client could not decrypt (PLACEHOLDER_MESSAGE_RESEND)
// beyond the retry itself. There are no TLS, no app state (contacts, mutes, own
// name), no status, newsletters, communities, calls, profile pictures or business
// profiles; questions about them get an empty result. People have one device
// unless a client is linked to their phone, trust every key, and never change
// their number.
package watest
