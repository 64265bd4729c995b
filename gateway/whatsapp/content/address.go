package content

import (
	"context"
	"fmt"
	"strings"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
)

// Address is what we call who the library calls jid, whatever its device. It is
// zero for what is neither a person nor a group: statuses, channels, bots of
// Meta's.
func Address(jid types.JID) gateway.Address {
	jid = plain(jid)
	switch {
	case jid.Server == types.GroupServer && digits(strings.ReplaceAll(jid.User, "-", "")):
		return gateway.Address{Group: jid.User}
	case jid.Server == types.DefaultUserServer && digits(jid.User):
		return gateway.Address{Phone: "+" + jid.User}
	case jid.Server == types.HiddenUserServer && digits(jid.User):
		return gateway.Address{LID: jid.User}
	default:
		return gateway.Address{}
	}
}

// JID is what the library calls whom we call a. Of a person's forms it is the
// LID if that is known: the library sends to no other, and a group knows its
// members by it. It reports false if a has no form that a linked device can
// reach.
func JID(a gateway.Address) (types.JID, bool) {
	phone, plus := strings.CutPrefix(a.Phone, "+")
	switch {
	case a.Group != "":
		return types.NewJID(a.Group, types.GroupServer), digits(strings.ReplaceAll(a.Group, "-", ""))
	case digits(a.LID):
		return types.NewJID(a.LID, types.HiddenUserServer), true
	case plus && digits(phone):
		return types.NewJID(phone, types.DefaultUserServer), true
	default:
		return types.JID{}, false
	}
}

// plain drops a JID's device, and what says that a device is hosted by Meta.
func plain(jid types.JID) types.JID {
	switch jid.Server {
	case types.HostedServer, types.LegacyUserServer:
		jid.Server = types.DefaultUserServer
	case types.HostedLIDServer:
		jid.Server = types.HiddenUserServer
	}
	return types.NewJID(jid.User, jid.Server)
}

// digits reports whether s is a number of at most as many digits as an id of
// WhatsApp's has, with room to spare.
func digits(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "0123456789") == ""
}

// address fills in with whom the conversation is and who wrote the message.
func (r *Reader) address(ctx context.Context, rd *reading) error {
	info := rd.info
	alt := info.SenderAlt
	if info.IsFromMe {
		alt = info.RecipientAlt
	}
	peer := Address(info.Chat)
	if peer.Group == "" {
		var err error
		if peer, err = r.person(ctx, info.Chat, alt); err != nil {
			return err
		}
	}
	rd.in.Peer = peer
	switch {
	case rd.author != types.JID{}:
		return r.sender(ctx, rd, rd.author, types.JID{})
	case info.IsFromMe:
		return r.sender(ctx, rd, r.Self.PN, r.Self.LID)
	case peer.Group != "":
		return r.sender(ctx, rd, info.Sender, info.SenderAlt)
	default:
		rd.in.Sender = peer
		return nil
	}
}

func (r *Reader) sender(ctx context.Context, rd *reading, jid, alt types.JID) error {
	a, err := r.person(ctx, jid, alt)
	rd.in.Sender = a
	return err
}

// person is the address of somebody, with both forms if the event or the book
// knows them. What the event says counts more: a number changes its owner.
func (r *Reader) person(ctx context.Context, jid, alt types.JID) (gateway.Address, error) {
	a, b := Address(jid), Address(alt)
	if a.Group != "" || b.Group != "" {
		return gateway.Address{}, nil // no person
	}
	if a.Phone == "" {
		a.Phone = b.Phone
	}
	if a.LID == "" {
		a.LID = b.LID
	}
	if r.Book == nil || (a.Phone == "") == (a.LID == "") {
		return a, nil
	}
	other, err := r.other(ctx, a)
	if err != nil {
		return gateway.Address{}, fmt.Errorf("look up the other form of an address: %w", err)
	}
	if b = Address(other); a.Phone == "" {
		a.Phone = b.Phone
	} else {
		a.LID = b.LID
	}
	return a, nil
}

func (r *Reader) other(ctx context.Context, a gateway.Address) (types.JID, error) {
	jid, _ := JID(a)
	if a.LID != "" {
		return r.Book.GetPNForLID(ctx, jid)
	}
	return r.Book.GetLIDForPN(ctx, jid)
}
