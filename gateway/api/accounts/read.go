package accounts

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

const (
	maxName   = 255  // characters
	maxSecret = 4096 // bytes
)

type accountInput struct {
	WABAID        wire.Nullable[string] `json:"waba_id" pattern:"^[0-9]{1,64}$"`
	PhoneNumberID wire.Nullable[string] `json:"phone_number_id" pattern:"^[0-9]{1,64}$"`
	BusinessName  wire.Nullable[string] `json:"business_name" maxLength:"255"`
	DisplayName   wire.Nullable[string] `json:"display_name" maxLength:"255"`
	PhoneNumber   wire.Nullable[string] `json:"phone_number" description:"In E.164 form"`
	AccessToken   wire.Nullable[string] `json:"meta_access_token" pattern:"^[!-~]+$" maxLength:"4096"`
	AppSecret     wire.Nullable[string] `json:"app_secret" pattern:"^[!-~]*$" maxLength:"4096" description:"With which Meta signs what comes in. Left out: that of the other accounts, if they agree"`
	VerifyToken   wire.Nullable[string] `json:"verify_token" pattern:"^[!-~]*$" maxLength:"4096" description:"Left out: that of the other accounts, if they agree"`
}

// readAccount reads what somebody tells of a new account.
func readAccount(c echo.Context) (gateway.Account, error) {
	var in accountInput
	if err := wire.ReadMember(c, "business_account", &in); err != nil {
		return gateway.Account{}, err
	}
	p := wire.Problems{}
	metaID(p, "waba_id", in.WABAID.Value)
	metaID(p, "phone_number_id", in.PhoneNumberID.Value)
	name(p, "business_name", in.BusinessName.Value)
	name(p, "display_name", in.DisplayName.Value)
	if in.AccessToken.Value == "" {
		p.Add("meta_access_token", "can't be blank")
	}
	secret(p, "meta_access_token", in.AccessToken.Value)
	secret(p, "app_secret", in.AppSecret.Value)
	secret(p, "verify_token", in.VerifyToken.Value)
	phone, ok := wire.PhoneNumber(in.PhoneNumber.Value)
	if in.PhoneNumber.Value != "" && !ok {
		p.Add("phone_number", "must be a number in E.164 form")
	}
	return gateway.Account{
		Name: strings.TrimSpace(in.DisplayName.Value), Business: strings.TrimSpace(in.BusinessName.Value), PhoneNumber: phone,
		Cloud: gateway.Cloud{
			PhoneNumberID: in.PhoneNumberID.Value, WABAID: in.WABAID.Value, AccessToken: gateway.Secret(in.AccessToken.Value),
			AppSecret: gateway.Secret(in.AppSecret.Value), VerifyToken: gateway.Secret(in.VerifyToken.Value),
		},
	}, p.Err()
}

// metaIDs are numbers, of which Meta does not say how long they may be.
var metaIDs = regexp.MustCompile(`^[0-9]{1,64}$`)

func metaID(p wire.Problems, field, s string) {
	switch {
	case s == "":
		p.Add(field, "can't be blank")
	case !metaIDs.MatchString(s):
		p.Add(field, "must be the digits that Meta shows for it")
	}
}

func name(p wire.Problems, field, s string) {
	if utf8.RuneCountInString(s) > maxName {
		p.Add(field, fmt.Sprintf("must have at most %d characters", maxName))
	}
}

// secret checks what goes into headers as it is.
func secret(p wire.Problems, field, s string) {
	if len(s) > maxSecret || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		p.Add(field, fmt.Sprintf("must be of at most %d letters, digits and signs, without spaces", maxSecret))
	}
}
