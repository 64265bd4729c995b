package gateway

// Why a message is ignored or held stands in Message.StateReason. One that
// waits, or that a run took, has no reason.

// Reasons to ignore a message: where it came from.
const (
	ReasonHistory = "history" // it is from a history sync
	ReasonEcho    = "echo"    // it is ours, sent by other means
	ReasonRevoke  = "revoke"  // it deletes another, which was not on record
)

// Reasons to ignore a message: its account.
const (
	ReasonNoAgent    = "no_agent"    // no active agent answers the account by itself
	ReasonGroup      = "group"       // agents do not answer in this group, or only if they are mentioned
	ReasonNotAllowed = "not_allowed" // the sender is not among those whom the account answers
)

// Reasons to ignore a message: the inbound filter of the account's default agent.
const (
	ReasonType        = "type"         // a reaction, a system message, or what WhatsApp could not show
	ReasonNotText     = "not_text"     // trigger_on is text_only
	ReasonTooShort    = "too_short"    // min_message_length
	ReasonPattern     = "pattern"      // ignore_patterns
	ReasonEmoji       = "emoji"        // it is nothing but emoji
	ReasonGreeting    = "greeting"     // it is nothing but a greeting, a thank-you or an ok
	ReasonHourlyLimit = "hourly_limit" // max_messages_per_hour
)

// Reasons to ignore a message: it stands, or stood, in another one.
const (
	ReasonEditApplied   = "edit_applied"    // the message that it changes says it now
	ReasonEditOutdated  = "edit_outdated"   // a later edit came before it
	ReasonEditOfIgnored = "edit_of_ignored" // no agent wanted the message, nor its edit
	ReasonEdited        = "edited"          // an agent was told of its edit before it came itself
	ReasonRevokeApplied = "revoke_applied"  // what it deletes had not been taken by a run
	ReasonRevokedLate   = "revoked_late"    // what it deletes had been, or is not known
	ReasonRevoked       = "revoked"         // it was deleted for everybody
)

// Reasons to hold a message for a person.
const (
	ReasonTooOld    = "too_old"   // it is backlog from longer ago than max_message_age
	ReasonPaused    = "paused"    // the conversation is paused
	ReasonCancelled = "cancelled" // the run that took it was cancelled
)

// Reasons returns all of them.
func Reasons() []string {
	return []string{
		ReasonHistory, ReasonEcho, ReasonRevoke,
		ReasonNoAgent, ReasonGroup, ReasonNotAllowed,
		ReasonType, ReasonNotText, ReasonTooShort, ReasonPattern, ReasonEmoji, ReasonGreeting, ReasonHourlyLimit,
		ReasonEditApplied, ReasonEditOutdated, ReasonEditOfIgnored, ReasonEdited, ReasonRevokeApplied, ReasonRevokedLate, ReasonRevoked,
		ReasonTooOld, ReasonPaused, ReasonCancelled,
	}
}
