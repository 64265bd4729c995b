package gateway

import (
	"encoding/json"
	"time"
)

// Linked is how an account of kind LinkedDevice behaves on WhatsApp.
type Linked struct {
	Groups   GroupPolicy   // which messages of groups agents answer
	MarkRead ReadPolicy    // when the customer sees that a message was read
	Typing   bool          // the customer sees that an answer is being written
	SendGap  time.Duration // mean time between two sends, which keeps a number from being banned; 0: none
}

// DefaultLinked is Linked with every setting at its default.
func DefaultLinked() Linked {
	return Linked{Groups: GroupsIgnored, MarkRead: ReadAnswering, Typing: true, SendGap: 2 * time.Second}
}

// DefaultTakeover is how long agents keep out of a conversation after a person
// of ours wrote to the customer, where an account does not say otherwise.
const DefaultTakeover = 30 * time.Minute

// A GroupPolicy says which messages of groups agents answer.
type GroupPolicy string

// The policies for groups.
const (
	GroupsIgnored   GroupPolicy = "ignore"    // none; they are on record
	GroupsMentioned GroupPolicy = "mentioned" // those that name us or answer us
	GroupsAll       GroupPolicy = "all"
)

// Answers reports whether agents answer a group's message, which may name us.
// The zero policy is GroupsIgnored.
func (p GroupPolicy) Answers(mentioned bool) bool {
	return p == GroupsAll || p == GroupsMentioned && mentioned
}

// A ReadPolicy says when messages are marked as read.
type ReadPolicy string

// The policies of read marks.
const (
	ReadNever     ReadPolicy = "never"
	ReadAnswering ReadPolicy = "answering" // once a run takes them
	ReadReceived  ReadPolicy = "received"  // once they are stored
)

// A Link is what is known of an account's link to WhatsApp as a device.
type Link struct {
	Account      AccountID
	Device       string // WhatsApp's address of our device; empty: not paired
	Phone        string // E.164, of the account that we are linked to
	LID          string // digits
	State        LinkState
	Reason       string    // why it is not connected, in words for people; may be empty
	RetryAt      time.Time // when it connects again by itself; zero: at once, or never (State says)
	NoFirstUntil time.Time // until then WhatsApp takes nothing to people who never wrote (reach-out timelock)
	ConnectedAt  time.Time // since when it is, or was, connected
	LastFrameAt  time.Time // when WhatsApp was last heard of
	LoggingOut   bool      // a person wants the device unlinked; whoever holds the link does it
	Holder       string    // the process that may connect it
	Fence        int64     // raised with every change of the holder: what an older one writes does not count
	LeaseUntil   time.Time // until then it is the holder's
	UpdatedAt    time.Time
}

// A LinkState is how an account's link stands.
type LinkState string

// The states of a link.
const (
	LinkUnpaired     LinkState = "unpaired"     // no device is linked: pairing is needed
	LinkConnecting   LinkState = "connecting"   // for the first time in this process
	LinkConnected    LinkState = "connected"    // connected and logged in
	LinkDisconnected LinkState = "disconnected" // lost, and tried again by itself
	LinkLoggedOut    LinkState = "logged_out"   // WhatsApp unlinked the device: pairing is needed
	LinkBanned       LinkState = "banned"       // for a while: it connects again at RetryAt
	LinkOutdated     LinkState = "outdated"     // WhatsApp wants a newer client
	LinkReplaced     LinkState = "replaced"     // another process took the connection
	LinkRefused      LinkState = "refused"      // for a reason that only a person can mend
)

// A Pairing is one try to link an account to a phone. Its steps are on record,
// so that any process can show what another one's connection asks for.
type Pairing struct {
	ID        int64
	Account   AccountID
	Method    PairingMethod
	Phone     string // E.164, for ByCode
	Step      PairingStep
	QR        string          // StepQR: what the picture holds
	Code      string          // StepCode: to type on the phone; StepConfirm: to compare with the phone's
	Options   json.RawMessage // StepPasskey: what navigator.credentials.get takes, as JSON
	Answer    json.RawMessage // of the person: what it returned; nil before
	Confirmed bool            // by the person: the codes are the same
	Error     string          // StepFailed: why, in words for people
	ExpiresAt time.Time       // of what the step shows; zero: does not expire
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A PairingMethod says how the phone learns of our device.
type PairingMethod string

// The methods.
const (
	ByQR   PairingMethod = "qr"   // the phone scans a picture
	ByCode PairingMethod = "code" // a code is typed on the phone
)

// A PairingStep is what a pairing waits for.
type PairingStep string

// The steps: wanted → qr or code → (passkey → confirm) → done, and from each
// to failed or expired.
const (
	StepWanted  PairingStep = "wanted"  // for the process that holds the link
	StepQR      PairingStep = "qr"      // for somebody to scan QR
	StepCode    PairingStep = "code"    // for somebody to type Code
	StepPasskey PairingStep = "passkey" // for the answer of the phone owner's passkey
	StepConfirm PairingStep = "confirm" // for somebody to compare Code
	StepDone    PairingStep = "done"
	StepFailed  PairingStep = "failed"
	StepExpired PairingStep = "expired"
)

// Over reports whether nothing more will come of the pairing.
func (s PairingStep) Over() bool { return s == StepDone || s == StepFailed || s == StepExpired }

// An Attachment is a file that came with a message and is still at WhatsApp.
type Attachment struct {
	MimeType string
	Name     string          // of the file; may be empty
	Size     int64           // bytes, as WhatsApp says
	Source   json.RawMessage // what the edge needs to fetch it; holds its key
}

// A Media is an Attachment on record.
type Media struct {
	Message   MessageID
	Account   AccountID
	State     MediaState
	MimeType  string
	Name      string
	Size      int64 // bytes; of what is kept, once it is
	Source    json.RawMessage
	Attempt   int       // raised at each claim: the fence of settling
	NextAt    time.Time // not fetched before
	Error     string    // why it is not kept
	ExpiresAt time.Time // when its bytes are deleted; zero while there are none
	CreatedAt time.Time
}

// A MediaState is how far a Media is.
type MediaState string

// The states.
const (
	MediaWanted   MediaState = "wanted" // to be fetched
	MediaAsked    MediaState = "asked"  // WhatsApp lost it; the sender's phone is asked for it again
	MediaKept     MediaState = "kept"   // its bytes are here
	MediaGone     MediaState = "gone"   // it can not be had any more
	MediaTooLarge MediaState = "too_large"
	MediaExpired  MediaState = "expired" // it was kept, for its time
)
