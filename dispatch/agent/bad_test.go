package agent

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/dispatch/agent/check"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// swap returns good with one part of it replaced.
func swap(old, new string) string {
	if !strings.Contains(good, old) {
		panic("good has no " + old)
	}
	return strings.Replace(good, old, new, 1)
}

// with returns good with another payload.
func with(payload string) string {
	return swap(`{"room":"12","count":null,"urgent":null,"day":null,"hour":null,"at":null}`, payload)
}

// quoted returns a text as a JSON string.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

// TestBadAnswers is what models do wrong. Each answer is given twice, so that
// the repair changes nothing.
func TestBadAnswers(t *testing.T) {
	const (
		accepted = 1 // requests: it is taken as it is
		repaired = 2 // it was sent back
		order    = `{"type":"hotel.room.order","payload":{"room":"12"}}`
	)
	tests := map[string]struct {
		text     string
		wantN    int
		wantFail bool
		wantActs int    // how many actions are left
		wantWord string // in a note, or in the failure
	}{
		// What is forgiven.
		"a code fence":                       {"```json\n" + good + "\n```", accepted, false, 1, ""},
		"a code fence without a language":    {"```\n" + good + "\n```", accepted, false, 1, ""},
		"a code fence on one line":           {"```json" + good + "```", accepted, false, 1, ""},
		"a code fence between words":         {"Here you are:\n```json\n" + good + "\n```\nAnything else?", accepted, false, 1, ""},
		"words before and after":             {"Sure: " + good + " I hope {this} helps.", accepted, false, 1, ""},
		"a byte order mark":                  {"\uFEFF" + good, accepted, false, 1, ""},
		"white space all around":             {"\n\t " + good + "\n\n", accepted, false, 1, ""},
		"thoughts before it":                 {"<think>maybe {\"intent\":\"x\",\"suggested_reply\":\"y\"}?</think>\n" + good, accepted, false, 1, ""},
		"a list around it":                   {"[" + good + "]", accepted, false, 1, ""},
		"JSON in a JSON string":              {quoted(good), accepted, false, 1, ""},
		"members that nobody asked for":      {swap(`"intent"`, `"thoughts":["x"],"intent"`), accepted, false, 1, ""},
		"invalid UTF-8":                      {swap(`"Sure"`, "\"Sure\xff\""), accepted, false, 1, ""},
		"a NUL, which PostgreSQL won't take": {swap(`"12"`, `"1\u00002"`), accepted, false, 1, ""},
		"optional fields left out":           {with(`{"room":"12"}`), accepted, false, 1, ""},
		"a field that isn't declared":        {with(`{"room":"12","to":"+4915112345"}`), accepted, false, 1, "dropped what was not declared of action 0 (fields: 1)"},
		"a language's name":                  {swap(`"en"`, `"English"`), accepted, false, 1, "dropped language"},
		"no actions":                         {swap(`"actions":[`, `"actions":[],"x":[`), accepted, false, 0, ""},

		"a code fence in capitals":          {"```JSON\r\n" + good + "\r\n```\r\n", accepted, false, 1, ""},
		"a code fence of tildes":            {"~~~json\n" + good + "\n~~~", accepted, false, 1, ""},
		"a code fence within another":       {"````markdown\n```json\n" + good + "\n```\n````", accepted, false, 1, ""},
		"a code fence that is left open":    {"```json\n" + good, accepted, false, 1, ""},
		"tags around it":                    {"<answer>\n" + good + "\n</answer>", accepted, false, 1, ""},
		"what is no answer after it":        {good + "\n{\"done\":true}", accepted, false, 1, ""},
		"a name in braces before it":        {"Dear {{name}}: " + good, accepted, false, 1, ""},
		"half of a surrogate pair":          {swap("Sure", `Sure \ud83d`), accepted, false, 1, ""},
		"a confidence with an exponent":     {swap("0.9", "9E-1"), accepted, false, 1, ""},
		"a confidence too small to tell":    {swap("0.9", "1e-400"), accepted, false, 1, ""},
		"a type that is written in escapes": {swap("hotel.room.order", `hotel\u002eroom\u002eorder`), accepted, false, 1, ""},
		"a type with a NUL within":          {swap("hotel.room.order", `hotel.room\u0000.order`), accepted, false, 1, ""},
		"members of an action beside it":    {swap(`"type":"hotel.room.order"`, `"to":"+4915112345","Type":"hotel.safe.open","type":"hotel.room.order"`), accepted, false, 1, ""},
		"a system action with a payload":    {swap(`"actions":[`, `"actions":[{"type":"system.noop.skip","payload":{"room":7}},`), accepted, false, 2, ""},
		"a system action without a payload": {swap(`"actions":[`, `"actions":[{"type":"system.conversation.pause"},`), accepted, false, 2, ""},
		"an action in a payload":            {with(`{"room":"12","actions":[{"type":"hotel.safe.open","payload":{}}]}`), accepted, false, 1, "dropped what was not declared of action 0 (fields: 1)"},
		"a member nested 5,000 deep":        {swap(`"intent"`, `"x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`,"intent"`), accepted, false, 1, ""},

		"a list by a name with a NUL": {swap(`"actions":[`, `"actio\u0000ns":[],"actions":[`), accepted, false, 1, ""},

		// What is no answer.
		"nothing":                         {"", repaired, true, 0, "one complete JSON object"},
		"words only":                      {"I'd be glad to help!", repaired, true, 0, "one complete JSON object"},
		"half of it":                      {good[:len(good)/2], repaired, true, 0, "one complete JSON object"},
		"all but the last brace":          {good[:len(good)-1], repaired, true, 0, "one complete JSON object"},
		"null":                            {"null", repaired, true, 0, "one complete JSON object"},
		"a number":                        {"42", repaired, true, 0, "one complete JSON object"},
		"an empty list":                   {"[]", repaired, true, 0, "one complete JSON object"},
		"an empty object":                 {"{}", repaired, true, 0, "intent is missing"},
		"two answers":                     {good + "\n" + good, repaired, true, 0, "not several"},
		"a customer's answer beside ours": {"They wrote " + strings.Replace(good, "order", "free", 1) + ". I say " + good, repaired, true, 0, "not several"},
		"single quotes":                   {strings.ReplaceAll(good, `"`, `'`), repaired, true, 0, "one complete JSON object"},
		"a comma at the end":              {strings.TrimSuffix(good, "}") + ",}", repaired, true, 0, "one complete JSON object"},
		"braces without end":              {strings.Repeat("{", 100_000), repaired, true, 0, "one complete JSON object"},
		"brackets without end":            {`{"intent":` + strings.Repeat("[", 100_000), repaired, true, 0, "one complete JSON object"},
		"a text without end":              {good + strings.Repeat(" x", 200_000), repaired, true, 0, "shorter"},
		"a number beyond all bounds":      {swap("0.9", "1e999999999"), repaired, true, 0, "too large"},
		"a tool call":                     {`{"name":"answer","arguments":` + good + `}`, repaired, true, 0, "is missing"},

		"all but its beginning":           {good[1:], repaired, true, 0, "one complete JSON object"},
		"half of an escape":               {good[:strings.Index(good, "Sure")] + `\u00`, repaired, true, 0, "one complete JSON object"},
		"true":                            {"true", repaired, true, 0, "one complete JSON object"},
		"a list of two answers":           {"[" + good + "," + good + "]", repaired, true, 0, "not several"},
		"JSON in JSON in JSON":            {quoted(quoted(good)), repaired, true, 0, "one complete JSON object"},
		"a JSON string of no JSON":        {quoted("{no}"), repaired, true, 0, "one complete JSON object"},
		"half of JSON in a JSON string":   {quoted(good[:50]), repaired, true, 0, "one complete JSON object"},
		"a line comment":                  {swap(`"confidence"`, "// sure\n\"confidence\""), repaired, true, 0, "one complete JSON object"},
		"a block comment":                 {swap(`"confidence"`, `/* sure */ "confidence"`), repaired, true, 0, "one complete JSON object"},
		"a comma at the end of a list":    {swap(`}],"language"`, `},],"language"`), repaired, true, 0, "one complete JSON object"},
		"names without quotes":            {swap(`"intent"`, `intent`), repaired, true, 0, "one complete JSON object"},
		"typographic quotes":              {strings.ReplaceAll(good, `"`, "\u201c"), repaired, true, 0, "one complete JSON object"},
		"a Python dictionary":             {strings.ReplaceAll(strings.ReplaceAll(good, `"`, `'`), "null", "None"), repaired, true, 0, "one complete JSON object"},
		"a line's end within a string":    {swap("Sure", "Sure\n"), repaired, true, 0, "one complete JSON object"},
		"a tab within a string":           {swap("Sure", "Sure\t"), repaired, true, 0, "one complete JSON object"},
		"a NUL within a string":           {swap("Sure", "Sure\x00"), repaired, true, 0, "one complete JSON object"},
		"a byte order mark within":        {strings.Replace(good, "{", "{\uFEFF", 1), repaired, true, 0, "one complete JSON object"},
		"confidence NaN":                  {swap("0.9", "NaN"), repaired, true, 0, "one complete JSON object"},
		"confidence Infinity":             {swap("0.9", "Infinity"), repaired, true, 0, "one complete JSON object"},
		"confidence below all":            {swap("0.9", "-Infinity"), repaired, true, 0, "one complete JSON object"},
		"confidence undefined":            {swap("0.9", "undefined"), repaired, true, 0, "one complete JSON object"},
		"a number with a plus":            {swap("0.9", "+0.9"), repaired, true, 0, "one complete JSON object"},
		"a number without its zero":       {swap("0.9", ".9"), repaired, true, 0, "one complete JSON object"},
		"a number with zeros before it":   {swap("0.9", "00.9"), repaired, true, 0, "one complete JSON object"},
		"a number in hexadecimal":         {swap("0.9", "0x1"), repaired, true, 0, "one complete JSON object"},
		"a number below all bounds":       {swap("0.9", "-1e999"), repaired, true, 0, "too large"},
		"nesting without end, all closed": {swap(`"intent"`, `"x":`+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)+`,"intent"`), repaired, true, 0, "one complete JSON object"},
		"a page of HTML":                  {"<!DOCTYPE html><html><body>Bad gateway</body></html>", repaired, true, 0, "one complete JSON object"},
		"YAML":                            {"intent: order\nconfidence: 0.9\nactions: []\nsuggested_reply: Sure", repaired, true, 0, "one complete JSON object"},
		"a tool call in tags":             {`<tool_call>{"name":"answer","arguments":` + good + `}</tool_call>`, repaired, true, 0, "one complete JSON object"},
		"UTF-16":                          {strings.Join(strings.Split(good, ""), "\x00"), repaired, true, 0, "one complete JSON object"},
		"bytes of no script":              {"\xff\xfe\x80" + strings.Repeat("\xc3", 100), repaired, true, 0, "one complete JSON object"},
		"thoughts without end or answer":  {"<think>What may they want? " + strings.Repeat("Hm. ", 1000), repaired, true, 0, "one complete JSON object"},

		// Answers within answers: of two that there are nobody knows which one is
		// meant, and what a customer wrote must not become one.
		"two lists of actions":                       {swap(`"actions":[`, `"actions":[],"actions":[`), repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two intents":                                {swap(`"intent":"order"`, `"intent":"order","intent":"refund"`), repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two types of one action":                    {swap(`"type":"hotel.room.order"`, `"type":"hotel.taxi.book","type":"hotel.room.order"`), repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two payloads of one action":                 {swap(`"payload":{`, `"payload":{"room":"1"},"payload":{`), repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two values of one field":                    {with(`{"room":"12","room":"13"}`), repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two lists, one in escapes":                  {swap(`"actions":[`, `"\u0061ctions":[],"actions":[`), repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two lists between words":                    {"Sure: " + swap(`"actions":[`, `"actions":[],"actions":[`) + " Bye.", repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two lists in a JSON string":                 {quoted(swap(`"actions":[`, `"actions":[],"actions":[`)), repaired, false, 0, "dropped the actions (1): an object of the answer had a member twice"},
		"two intents, and no action":                 {swap(`"actions":[`, `"intent":"refund","actions":[],"x":[`), repaired, false, 0, "no object of the answer may have a member twice"},
		"an answer quoted in half a one":             {swap(`"Sure"`, `"You wrote `+good+`"`), repaired, true, 0, "one complete JSON object"},
		"an answer within half a one":                {`{"intent":"order","actions":[{"type":"hotel.room.order","payload":` + good, repaired, true, 0, "one complete JSON object"},
		"an answer within one of single quotes":      {`{'intent': 'order', 'note': ` + good + `}`, repaired, true, 0, "one complete JSON object"},
		"an answer within one of names":              {`{intent: ` + good + `}`, repaired, true, 0, "one complete JSON object"},
		"an answer after half a one":                 {good[:100] + "\nThe customer wrote:\n" + good, repaired, true, 0, "one complete JSON object"},
		"an answer after the end of broken thoughts": {"```json\n{\"intent\": order,\n\"suggested_reply\": \"You wrote </think>" + good, repaired, true, 0, "not several"},

		// Members of the wrong kind.
		"no intent":                    {swap(`"intent":"order",`, ""), repaired, true, 0, "intent is missing"},
		"a blank intent":               {swap(`"order"`, `" "`), repaired, true, 0, "intent must not be blank"},
		"an intent that is a number":   {swap(`"order"`, `7`), repaired, true, 0, "intent must be of type string"},
		"an intent that is a novel":    {swap(`"order"`, `"`+strings.Repeat("x", 201)+`"`), repaired, true, 0, "at most 200 characters"},
		"no confidence":                {swap(`"confidence":0.9,`, ""), repaired, true, 0, "confidence is missing"},
		"confidence above one":         {swap("0.9", "1.01"), repaired, true, 0, "confidence must be at most 1"},
		"confidence in percent":        {swap("0.9", "90"), repaired, true, 0, "confidence must be at most 1"},
		"confidence below zero":        {swap("0.9", "-0.1"), repaired, true, 0, "confidence must be at least 0"},
		"confidence in words":          {swap("0.9", `"high"`), repaired, true, 0, "confidence must be of type number"},
		"confidence as a string":       {swap("0.9", `"0.9"`), repaired, true, 0, "confidence must be of type number"},
		"confidence null":              {swap("0.9", "null"), repaired, true, 0, "confidence must be of type number"},
		"an intent of a wide space":    {swap(`"order"`, `"\u2003\u00a0"`), repaired, true, 0, "intent must not be blank"},
		"an intent without width":      {swap(`"order"`, `"\u200b\ufeff"`), repaired, true, 0, "intent must not be blank"},
		"an intent of a NUL":           {swap(`"order"`, `"\u0000"`), repaired, true, 0, "intent must not be blank"},
		"an intent that is a list":     {swap(`"order"`, `["order"]`), repaired, true, 0, "intent must be of type string"},
		"confidence with a percent":    {swap("0.9", `"90%"`), repaired, true, 0, "confidence must be of type number"},
		"confidence with a comma":      {swap("0.9", `"0,9"`), repaired, true, 0, "confidence must be of type number"},
		"confidence true":              {swap("0.9", "true"), repaired, true, 0, "confidence must be of type number"},
		"confidence in a list":         {swap("0.9", "[0.9]"), repaired, true, 0, "confidence must be of type number"},
		"confidence hardly above one":  {swap("0.9", "1.0000000000000002"), repaired, true, 0, "confidence must be at most 1"},
		"confidence beyond measure":    {swap("0.9", "1e308"), repaired, true, 0, "confidence must be at most 1"},
		"a reply that is null":         {swap(`"Sure"`, "null"), repaired, true, 0, "suggested_reply must be of type string"},
		"actions in a string":          {swap(`"actions":[`, `"actions":"[]","x":[`), repaired, true, 0, "actions must be of type array"},
		"actions by name":              {swap(`"actions":[`, `"actions":{"hotel.room.order":{"room":"12"}},"x":[`), repaired, true, 0, "actions must be of type array"},
		"no reply":                     {swap(`"suggested_reply":"Sure",`, ""), repaired, true, 0, "suggested_reply is missing"},
		"a reply that is an object":    {swap(`"Sure"`, `{"text":"Sure"}`), repaired, true, 0, "suggested_reply must be of type string"},
		"a reply that is a book":       {swap(`"Sure"`, `"`+strings.Repeat("x", 16_001)+`"`), repaired, true, 0, "at most 16000 characters"},
		"actions that are one":         {swap(`"actions":[`, `"actions":`+order+`,"x":[`), repaired, true, 0, "actions must be of type array"},
		"actions null":                 {swap(`"actions":[`, `"actions":null,"x":[`), repaired, true, 0, "actions must be of type array"},
		"no language":                  {swap(`"language":"en",`, ""), repaired, false, 1, "dropped language: language is missing"},
		"a language that is a number":  {swap(`"en"`, "1"), repaired, false, 1, "dropped language"},
		"no analysis":                  {swap(`"analysis_summary":"a",`, ""), repaired, false, 1, "dropped analysis_summary"},
		"a summary that is a list":     {swap(`"c"`, `["c"]`), repaired, false, 1, "dropped context_summary"},
		"a summary that is a megabyte": {swap(`"c"`, `"`+strings.Repeat("x", 100_000)+`"`), repaired, false, 1, "dropped context_summary"},

		// Actions that are not allowed, or not what was declared.
		"an action of another domain":      {swap("hotel.room.order", "bank.account.transfer"), repaired, false, 0, "dropped action 0 (bank.account.transfer)"},
		"a type that says more":            {swap("hotel.room.order", "hotel.room.order; hotel.safe.open"), repaired, false, 0, "dropped action 0: "},
		"a type in capitals":               {swap("hotel.room.order", "Hotel.Room.Order"), repaired, false, 0, "dropped action 0: "},
		"a type with a space":              {swap("hotel.room.order", "hotel.room.order "), repaired, false, 0, "dropped action 0: "},
		"a pattern for a type":             {swap("hotel.room.order", "hotel.*.*"), repaired, false, 0, "dropped action 0: "},
		"words of the customer's for one":  {swap("hotel.room.order", secret), repaired, false, 0, "dropped action 0: "},
		"a made-up system action":          {swap("hotel.room.order", "system.agent.delete"), repaired, false, 0, "dropped action 0 (system.agent.delete)"},
		"a type with a Cyrillic letter":    {swap("hotel.room.order", "hotel.r\u043eom.order"), repaired, false, 0, "dropped action 0: "},
		"a type with a wide full stop":     {swap("hotel.room.order", "hotel\uff0eroom.order"), repaired, false, 0, "dropped action 0: "},
		"a type in wide letters":           {swap("hotel.room.order", "\uff48otel.room.order"), repaired, false, 0, "dropped action 0: "},
		"a type with a letter joined":      {swap("hotel.room.order", "hotel.room.o\u0308rder"), repaired, false, 0, "dropped action 0: "},
		"a type with a dotless i":          {swap("hotel.room.order", "hotel.tax\u0131.book"), repaired, false, 0, "dropped action 0: "},
		"a type with no width within":      {swap("hotel.room.order", "hotel.room\u200b.order"), repaired, false, 0, "dropped action 0: "},
		"a type with no width after it":    {swap("hotel.room.order", "hotel.room.order\u2060"), repaired, false, 0, "dropped action 0: "},
		"a type with a mark before it":     {swap("hotel.room.order", "\ufeffhotel.room.order"), repaired, false, 0, "dropped action 0: "},
		"a type written from the right":    {swap("hotel.room.order", "\u202eredro.moor.letoh"), repaired, false, 0, "dropped action 0: "},
		"a type with a line's end":         {swap("hotel.room.order", `hotel.room.order\n`), repaired, false, 0, "dropped action 0: "},
		"a type with a tab before it":      {swap("hotel.room.order", `\thotel.room.order`), repaired, false, 0, "dropped action 0: "},
		"a type with more before it":       {swap("hotel.room.order", "xhotel.room.order"), repaired, false, 0, "dropped action 0 (xhotel.room.order)"},
		"a type with more after it":        {swap("hotel.room.order", "hotel.room.order_all"), repaired, false, 0, "dropped action 0 (hotel.room.order_all)"},
		"a type of four parts":             {swap("hotel.room.order", "hotel.room.order.now"), repaired, false, 0, "dropped action 0: "},
		"a type of two parts":              {swap("hotel.room.order", "hotel.room"), repaired, false, 0, "dropped action 0: "},
		"two types in one":                 {swap("hotel.room.order", "hotel.room.order,hotel.taxi.book"), repaired, false, 0, "dropped action 0: "},
		"a type as in a URL":               {swap("hotel.room.order", "hotel%2eroom%2eorder"), repaired, false, 0, "dropped action 0: "},
		"a type as in a path":              {swap("hotel.room.order", "hotel.room.order/../../hotel.safe.open"), repaired, false, 0, "dropped action 0: "},
		"a type of nothing":                {swap("hotel.room.order", ""), repaired, false, 0, "dropped action 0: "},
		"a type of ten thousand letters":   {swap("hotel.room.order", strings.Repeat("hotel", 2000)), repaired, false, 0, "dropped action 0: "},
		"a system action in capitals":      {swap("hotel.room.order", "SYSTEM.NOOP.SKIP"), repaired, false, 0, "dropped action 0: "},
		"a system action without width":    {swap("hotel.room.order", "system.noop.skip\u200b"), repaired, false, 0, "dropped action 0: "},
		"a system action with a space":     {swap("hotel.room.order", " system.conversation.pause"), repaired, false, 0, "dropped action 0: "},
		"a type that is null":              {swap(`"hotel.room.order"`, "null"), repaired, false, 0, "type must be a string"},
		"a type that is a list":            {swap(`"hotel.room.order"`, `["hotel.room.order"]`), repaired, false, 0, "type must be a string"},
		"a type that is an object":         {swap(`"hotel.room.order"`, `{"const":"hotel.room.order"}`), repaired, false, 0, "type must be a string"},
		"a type by another name":           {swap(`"type":`, `"Type":`), repaired, false, 0, "type must be a string"},
		"an action that is null":           {swap(`"actions":[`, `"actions":[null,`), repaired, false, 1, "actions[0] must be an object"},
		"actions in a list of lists":       {swap(`"actions":[`, `"actions":[[`+order+`],`), repaired, false, 1, "actions[0] must be an object"},
		"a type that is a number":          {swap(`"hotel.room.order"`, "7"), repaired, false, 0, "type must be a string"},
		"an action without a type":         {swap(`"type":"hotel.room.order",`, ""), repaired, false, 0, "type must be a string"},
		"an action that is a string":       {swap(`"actions":[`, `"actions":["hotel.room.order",`), repaired, false, 1, "actions[0] must be an object"},
		"a good action beside a bad one":   {swap(`"actions":[`, `"actions":[{"type":"a.b.c","payload":{}},`), repaired, false, 1, "dropped action 0 (a.b.c)"},
		"more actions than anybody needs":  {swap(`"actions":[`, `"actions":[`+strings.Repeat(order+",", 25)), repaired, false, 20, "dropped the last 6 actions: at most 20 are taken"},
		"a hundred thousand actions":       {swap(`"actions":[`, `"actions":[`+strings.Repeat("0,", 100_000)), repaired, false, 0, "dropped the last 99981 actions"},
		"no payload":                       {swap(`,"payload":{"room":"12","count":null,"urgent":null,"day":null,"hour":null,"at":null}`, ""), repaired, false, 0, "payload must be an object"},
		"a payload that is a list":         {with(`["12"]`), repaired, false, 0, "payload must be an object"},
		"a payload in a string":            {with(`"{\"room\":\"12\"}"`), repaired, false, 0, "payload must be an object"},
		"a required field that is missing": {with(`{"count":1}`), repaired, false, 0, "payload.room is missing"},
		"a required field that is null":    {with(`{"room":null}`), repaired, false, 0, "payload.room must be of type string"},
		"a required field that is blank":   {with(`{"room":"  "}`), repaired, false, 0, "payload.room must not be blank"},
		"a payload that is null":           {with("null"), repaired, false, 0, "payload must be an object"},
		"a payload that is a text":         {with(`"12"`), repaired, false, 0, "payload must be an object"},
		"a required field of no width":     {with(`{"room":"\u200b"}`), repaired, false, 0, "payload.room must not be blank"},
		"a required field of wide spaces":  {with(`{"room":"\u3000\u00a0"}`), repaired, false, 0, "payload.room must not be blank"},
		"a required field by another name": {with(`{"Room":"12"}`), repaired, false, 0, "payload.room is missing"},
		"a text that is an object":         {with(`{"room":{"number":"12"}}`), repaired, false, 0, "payload.room must be of type string"},
		"a text that is a list":            {with(`{"room":["12"]}`), repaired, false, 0, "payload.room must be of type string"},
		"a number that is a list":          {with(`{"room":"12","count":[2]}`), repaired, false, 0, "payload.count must be of type number"},
		"a number in words":                {with(`{"room":"12","count":"two"}`), repaired, false, 0, "payload.count must be of type number"},
		"a number beyond what is exact":    {with(`{"room":"12","count":-1e300}`), repaired, false, 0, "payload.count must be at least"},
		"a number beyond a payload's":      {with(`{"room":"12","count":1e309}`), repaired, true, 0, "too large"},
		"a boolean in words":               {with(`{"room":"12","urgent":"yes"}`), repaired, false, 0, "payload.urgent must be of type boolean"},
		"a date with a time":               {with(`{"room":"12","day":"2026-11-30T00:00:00Z"}`), repaired, false, 0, "payload.day must be a date such"},
		"a date with slashes":              {with(`{"room":"12","day":"2026/11/30"}`), repaired, false, 0, "payload.day must be a date such"},
		"a date without zeros":             {with(`{"room":"12","day":"2026-3-1"}`), repaired, false, 0, "payload.day must be a date such"},
		"a date that is a number":          {with(`{"room":"12","day":20261130}`), repaired, false, 0, "payload.day must be of type string"},
		"a date of nothing":                {with(`{"room":"12","day":""}`), repaired, false, 0, "payload.day must be a date such"},
		"a time without a zero":            {with(`{"room":"12","hour":"7:30"}`), repaired, false, 0, "payload.hour must be a time such"},
		"a minute too late":                {with(`{"room":"12","hour":"19:60"}`), repaired, false, 0, "payload.hour must be a time such"},
		"half an offset":                   {with(`{"room":"12","hour":"19:30:00+02"}`), repaired, false, 0, "payload.hour must be a time such"},
		"a time with a line's end":         {with(`{"room":"12","hour":"19:30:00\n"}`), repaired, false, 0, "payload.hour must be a time such"},
		"a datetime that is a number":      {with(`{"room":"12","at":1790000000}`), repaired, false, 0, "payload.at must be of type string"},
		"a datetime that is a date":        {with(`{"room":"12","at":"2026-11-30"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a datetime in words":              {with(`{"room":"12","at":"tomorrow at noon"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a datetime of an hour too late":   {with(`{"room":"12","at":"2026-11-30T25:00:00Z"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a datetime with half an offset":   {with(`{"room":"12","at":"2026-11-30T14:30:00+1:00"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a datetime with a day's offset":   {with(`{"room":"12","at":"2026-11-30T14:30:00+25:00"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a datetime of a week":             {with(`{"room":"12","at":"2026-W49-1T14:30:00Z"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a datetime with a zone's name":    {with(`{"room":"12","at":"2026-11-30T14:30:00[Europe/Berlin]"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a text of 17 KiB":                 {with(`{"room":"` + strings.Repeat("x", 17<<10) + `"}`), repaired, false, 0, "payload must be smaller"},
		"a text that is a number":          {with(`{"room":12}`), repaired, false, 0, "payload.room must be of type string"},
		"a number that is a text":          {with(`{"room":"12","count":"2"}`), repaired, false, 0, "payload.count must be of type number"},
		"a boolean that is a text":         {with(`{"room":"12","urgent":"true"}`), repaired, false, 0, "payload.urgent must be of type boolean"},
		"a number that would be rounded":   {with(`{"room":"12","count":9007199254740993}`), repaired, false, 0, "payload.count must be at most"},
		"a boolean that is a number":       {with(`{"room":"12","urgent":1}`), repaired, false, 0, "payload.urgent must be of type boolean"},
		"a date in words":                  {with(`{"room":"12","day":"tomorrow"}`), repaired, false, 0, "payload.day must be a date such"},
		"a date that never was":            {with(`{"room":"12","day":"2026-02-30"}`), repaired, false, 0, "payload.day must be a date such"},
		"a date the other way round":       {with(`{"room":"12","day":"30.11.2026"}`), repaired, false, 0, "payload.day must be a date such"},
		"a time in words":                  {with(`{"room":"12","hour":"7pm"}`), repaired, false, 0, "payload.hour must be a time such"},
		"an hour too late":                 {with(`{"room":"12","hour":"24:00:00"}`), repaired, false, 0, "payload.hour must be a time such"},
		"a datetime of no calendar":        {with(`{"room":"12","at":"2026-02-30T14:30:00"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a datetime with a space and zone": {with(`{"room":"12","at":"2026-11-30 14:30 CET"}`), repaired, false, 0, "payload.at must be a date and time such"},
		"a payload of a megabyte":          {with(`{"room":"` + strings.Repeat("x", 100_000) + `"}`), repaired, false, 0, "payload must be smaller"},
	}
	if len(tests) < 150 {
		t.Errorf("%d cases: some are gone", len(tests))
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: tt.text})})
			got, err := b.Answer(t.Context(), hotel(), ask())
			if n := len(b.server.Requests()); n != tt.wantN {
				t.Errorf("%d requests, want %d", n, tt.wantN)
			}
			if tt.wantFail {
				f := checkFailure(t, err, gateway.StopInvalidResponse, "")
				if !strings.Contains(f.Msg, tt.wantWord) {
					t.Errorf("failure %q does not say %q", f.Msg, tt.wantWord)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			notes := strings.Join(got.Notes, "\n")
			if !strings.Contains(notes, tt.wantWord) || tt.wantWord == "" && notes != "" {
				t.Errorf("notes %q do not say %q", notes, tt.wantWord)
			}
			dropped := 0.0
			for _, n := range got.Notes {
				if !strings.HasPrefix(n, "the first answer was ") {
					dropped++
				}
			}
			if n := testutil.ToFloat64(b.metrics.dropped.WithLabelValues("openai", "m-1")); n != dropped {
				t.Errorf("%v things are counted as dropped, want %v", n, dropped)
			}
			if strings.Contains(notes, secret) || len(notes) > 2000 {
				t.Errorf("notes tell too much: %.300q", notes)
			}
			if len(got.Output.Actions) != tt.wantActs {
				t.Errorf("%d actions, want %d", len(got.Output.Actions), tt.wantActs)
			}
			holds(t, &got.Output)
		})
	}
}

// holds checks that what was accepted is accepted again, as it is.
func holds(t *testing.T, o *gateway.Output) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := check.New(hotel(), nil)
	if err != nil {
		t.Fatal(err)
	}
	v := c.Check(string(text))
	if len(v.Faults)+len(v.Notes) != 0 {
		t.Errorf("an output that does not hold to the rules: %q, %q", v.Faults, v.Notes)
	}
	if diff := cmp.Diff(*o, v.Output); diff != "" {
		t.Errorf("output, checked again (-want +got):\n%s", diff)
	}
}

// TestTimesAreThoseOfTheBusiness is over HTTP what package check does with them.
func TestTimesAreThoseOfTheBusiness(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		now   time.Time
		at    string
		want  any // nil: the action is dropped
		wantN int
	}{
		"a zone":                    {time.Now().In(berlin), "2026-11-30 14:30:00", "2026-11-30T14:30:00+01:00", 1},
		"no time, no zone":          {time.Time{}, "2026-11-30T14:30", "2026-11-30T14:30:00Z", 1},
		"a time that there is not":  {time.Now().In(berlin), "2026-03-29T02:30", nil, 2},
		"a time that there is once": {time.Now().In(time.UTC), "2026-03-29T02:30", "2026-03-29T02:30:00Z", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: with(`{"room":"12","at":"` + tt.at + `"}`)})})
			p := ask()
			p.Now = tt.now
			got, err := b.Answer(t.Context(), hotel(), p)
			if err != nil {
				t.Fatal(err)
			}
			var at any
			if len(got.Output.Actions) > 0 {
				at = got.Output.Actions[0].Payload["at"]
			}
			all := b.server.Requests()
			if at != tt.want || len(all) != tt.wantN {
				t.Errorf("%v after %d requests, want %v after %d; notes %q", at, len(all), tt.want, tt.wantN, got.Notes)
			}
			if tt.want == nil && !strings.Contains(all[1].Messages[3].Content, "clocks in Europe/Berlin are put forward past this one") {
				t.Errorf("the repair does not say why:\n%s", all[1].Messages[3].Content)
			}
		})
	}
}
