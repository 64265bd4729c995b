package storetest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// shopKey is a key that reaches the sandbox only.
func shopKey() gateway.APIKey {
	return gateway.APIKey{
		Name: "shop", Hash: sha256.Sum256([]byte("shop")), Scope: gateway.ScopeWrite, Test: true,
		Accounts: []gateway.AccountID{sandbox}, PerMinute: 60,
	}
}

func TestAKeyIsKeptAsItWasMade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		k := shopKey()
		must(t, s.CreateKey(t.Context(), &k))
		if k.ID == "" || time.Since(k.CreatedAt) > time.Minute {
			t.Errorf("the key is %+v", k)
		}
		equal(t, "by hash", got(s.KeyByHash(t.Context(), k.Hash))(t), k)
		plain := gateway.APIKey{Name: "all", Hash: sha256.Sum256([]byte("all")), Scope: gateway.ScopeRead}
		must(t, s.CreateKey(t.Context(), &plain))
		equal(t, "keys", got(s.APIKeys(t.Context()))(t), []gateway.APIKey{plain, k})
	})
}

func TestKeysThatCanNotBeMade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		k := shopKey()
		must(t, s.CreateKey(t.Context(), &k))
		again := shopKey()
		again.Hash = sha256.Sum256([]byte("another"))
		wantKind(t, s.CreateKey(t.Context(), &again), gateway.Conflict)
		stray := shopKey()
		stray.Name, stray.Hash, stray.Accounts = "stray", again.Hash, []gateway.AccountID{"acc_none"}
		wantKind(t, s.CreateKey(t.Context(), &stray), gateway.Invalid)
		equal(t, "keys", len(got(s.APIKeys(t.Context()))(t)), 1)
	})
}

// TestAKeyThatATryMadeGetsAnotherSecret: only that one, and not for good.
func TestAKeyThatATryMadeGetsAnotherSecret(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		made := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		create := func(id, name, secret string) (gateway.APIKey, error) {
			k := shopKey()
			k.ID, k.Name, k.Hash, k.CreatedAt = id, name, sha256.Sum256([]byte(secret)), made
			made = made.Add(time.Minute)
			err := s.CreateKey(t.Context(), &k)
			return k, err
		}
		first := got(create("key_a", "shop", "first"))(t)
		again := got(create("key_a", "shop", "again"))(t)
		_, err := s.KeyByHash(t.Context(), first.Hash)
		wantKind(t, err, gateway.NotFound)
		equal(t, "by its new hash", got(s.KeyByHash(t.Context(), again.Hash))(t), again)
		first.Hash = again.Hash
		equal(t, "the rest of it", again, first)

		for _, other := range [][2]string{{"key_b", "shop"}, {"key_a", "bar"}, {"", "shop"}} {
			_, err := create(other[0], other[1], "other")
			wantKind(t, err, gateway.Conflict)
		}
		must(t, s.RevokeKey(t.Context(), "key_a"))
		_, err = create("key_a", "shop", "late")
		wantKind(t, err, gateway.Conflict)
		must(t, s.Declare(t.Context(), nil, nil, nil, []gateway.APIKey{{Name: "ops", Hash: sha256.Sum256([]byte("ops"))}}))
		_, err = create("", "ops", "other")
		wantKind(t, err, gateway.Conflict)
		got(s.KeyByHash(t.Context(), sha256.Sum256([]byte("ops"))))(t)
		equal(t, "keys", len(got(s.APIKeys(t.Context()))(t)), 2)
	})
}

func TestARevokedKeyOpensNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		k, other := shopKey(), gateway.APIKey{Name: "other", Hash: sha256.Sum256([]byte("other")), Scope: gateway.ScopeRead}
		must(t, s.CreateKey(t.Context(), &k))
		must(t, s.CreateKey(t.Context(), &other))
		must(t, s.RevokeKey(t.Context(), k.ID))
		_, err := s.KeyByHash(t.Context(), k.Hash)
		wantKind(t, err, gateway.NotFound)
		first := got(s.APIKeys(t.Context()))(t)[1].RevokedAt
		if time.Since(first) > time.Minute {
			t.Errorf("it was revoked at %v", first)
		}
		for time.Since(first) < 2*time.Millisecond { // times are kept in milliseconds
			runtime.Gosched()
		}
		must(t, s.RevokeKey(t.Context(), "shop"))
		equal(t, "revoked", got(s.APIKeys(t.Context()))(t)[1].RevokedAt, first)
		got(s.KeyByHash(t.Context(), other.Hash))(t)
		must(t, s.RevokeKey(t.Context(), gateway.KeyDigest("other")))
		_, err = s.KeyByHash(t.Context(), other.Hash)
		wantKind(t, err, gateway.NotFound)
		for _, none := range []string{"", "key_none", gateway.KeyDigest("none"), "sha256:", "other ", hex.EncodeToString(other.Hash[:])} {
			wantKind(t, s.RevokeKey(t.Context(), none), gateway.NotFound)
		}
	})
}

func TestAKeyOfTheConfigurationIsChangedThere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		made := shopKey()
		must(t, s.CreateKey(t.Context(), &made))
		ops := gateway.APIKey{Name: "ops", Hash: sha256.Sum256([]byte("ops")), Scope: gateway.ScopeRead, PerMinute: 10}
		must(t, s.Declare(t.Context(), nil, nil, nil, []gateway.APIKey{ops}))
		wantKind(t, s.RevokeKey(t.Context(), "ops"), gateway.Conflict)
		used := time.Now().UTC().Truncate(time.Millisecond)
		must(t, s.KeysUsed(t.Context(), map[string]time.Time{"ops": used, "nobody": used}))
		must(t, s.KeysUsed(t.Context(), map[string]time.Time{"ops": used.Add(-time.Hour)}))
		must(t, s.Declare(t.Context(), nil, nil, nil, []gateway.APIKey{ops}))
		ops.Declared, ops.LastUsedAt = true, used
		equal(t, "declared again", got(s.KeyByHash(t.Context(), ops.Hash))(t), ops)
		equal(t, "the one beside it", got(s.KeyByHash(t.Context(), made.Hash))(t), made)
		ops.Name = made.Name
		wantKind(t, s.Declare(t.Context(), nil, nil, nil, []gateway.APIKey{ops}), gateway.Invalid)
	})
}

func TestTheAuditIsReadBackwardsAndPruned(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		begin := time.Now().UTC().Truncate(time.Millisecond)
		var all []gateway.AuditEntry
		for i := range 5 {
			e := gateway.AuditEntry{
				At: begin.Add(time.Duration(i) * time.Hour), Who: "ops", Action: "POST /api/v1/agents", Subject: "/api/v1/agents",
				Status: 201, Request: fmt.Sprint(i),
			}
			must(t, s.AddAudit(t.Context(), &e))
			all = append([]gateway.AuditEntry{e}, all...)
		}
		page := func(before int64, want ...gateway.AuditEntry) {
			t.Helper()
			es, total, err := s.Audit(t.Context(), before, 2)
			must(t, err)
			equal(t, "in all", total, 5)
			equal(t, "page", es, want, cmpopts.EquateEmpty())
		}
		page(0, all[0], all[1])
		page(all[1].Seq, all[2], all[3])
		page(all[3].Seq, all[4])
		page(all[4].Seq)
		must(t, s.PruneAudit(t.Context(), all[1].At))
		es, total, err := s.Audit(t.Context(), 0, 9)
		must(t, err)
		equal(t, "left", total, 2)
		equal(t, "left", es, all[:2])
	})
}

func TestContactsOfSomeAccounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		for i, account := range []gateway.AccountID{sandbox, cloud, sandbox, cloud} {
			add(t, s, from(account, []string{alice, alice, bob, bob}[i], fmt.Sprintf("wamid.%d", i)))
		}
		everyone, _, err := s.Contacts(t.Context(), "", "", 9)
		must(t, err)
		var ours []gateway.Contact
		var stranger gateway.ContactID
		for i := range everyone {
			if everyone[i].Account == sandbox {
				ours = append(ours, everyone[i])
			} else {
				stranger = everyone[i].ID
			}
		}
		equal(t, "ours", len(ours), 2)
		of := func(phone string, after gateway.ContactID, limit, wantTotal int, want ...gateway.Contact) {
			t.Helper()
			cs, total, err := s.ContactsOf(t.Context(), []gateway.AccountID{sandbox, "acc_none"}, phone, after, limit)
			must(t, err)
			equal(t, "in all", total, wantTotal)
			equal(t, "contacts", cs, want, cmpopts.EquateEmpty())
		}
		of("", "", 9, 2, ours...)
		of("", "", 1, 2, ours[0])
		of("", ours[0].ID, 9, 2, ours[1])
		of(ours[0].Address.Phone, "", 9, 1, ours[0])
		_, _, err = s.ContactsOf(t.Context(), []gateway.AccountID{sandbox}, "", stranger, 9)
		wantKind(t, err, gateway.NotFound)
		none, total, err := s.ContactsOf(t.Context(), nil, "", "", 9)
		must(t, err)
		if len(none) != 0 || total != 0 {
			t.Errorf("%d of %d contacts of no account", len(none), total)
		}
	})
}

// TestTheUseOfKeysIsNotedInOneOrder has it wait for the first key: whoever else
// notes the use of the others must not be kept from them meanwhile.
func TestTheUseOfKeysIsNotedInOneOrder(t *testing.T) {
	url := storetest.Postgres(t)
	s := storetest.At(t, store.Config{URL: url, Key: storetest.Key})
	used := map[string]time.Time{}
	for i := range 40 {
		k := gateway.APIKey{Name: fmt.Sprintf("key %02d", i), Hash: [32]byte{byte(i)}, Scope: gateway.ScopeAdmin}
		must(t, s.CreateKey(t.Context(), &k))
		used[k.Name] = time.Now()
	}
	tx, wait := lockedRow(t, url, `SELECT 1 FROM api_keys WHERE name = $1 FOR UPDATE`, "key 00")
	noted := make(chan error, 1)
	go func() { noted <- s.KeysUsed(context.Background(), used) }()
	wait()
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM api_keys FOR UPDATE NOWAIT`); err != nil {
		t.Errorf("another key is locked before the first: %v", err)
	}
	must(t, tx.Rollback())
	must(t, <-noted)
}
