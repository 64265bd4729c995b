package graphtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Own makes the server know a number as one of its business account's, and the
// token that reaches both; others are refused from then on.
func (s *Server) Own(n Number, token string) {
	s.AddNumber(n.PhoneNumberID, token)
	s.AddBusiness(n.WABA, token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owned[n.WABA] = append(s.owned[n.WABA], n)
}

// serveNumber answers GET /…/{phone-number-id}, a business phone number's node, and
// GET /…/{waba-id}/phone_numbers, the list of a business account's.
func (s *Server) serveNumber(w http.ResponseWriter, r *http.Request, id string, list bool) {
	status, fault := s.authorize(r, id)
	fields := strings.Split(r.URL.Query().Get("fields"), ",")
	s.mu.Lock()
	scripted := s.begin()
	var reply any
	if fault == nil {
		status = http.StatusBadRequest
		if list {
			reply, fault = s.listNumbers(r.URL.Query(), id, fields)
		} else {
			reply, fault = s.number(id, fields)
		}
	}
	s.mu.Unlock()
	switch {
	case scripted != nil:
		scripted.answer(w, r)
	case fault != nil:
		refuse(w, status, *fault)
	default:
		write(w, http.StatusOK, reply)
	}
}

// numberPage is how many numbers a page has: few, so that those who look at one
// only are found.
const numberPage = 2

func (s *Server) listNumbers(q url.Values, waba string, fields []string) (any, *graphError) {
	data := []any{}
	all := s.owned[waba]
	begin := slices.IndexFunc(all, func(n Number) bool { return n.PhoneNumberID == q.Get("after") }) + 1
	end := min(begin+numberPage, len(all))
	for _, n := range all[begin:end] {
		one, fault := numberFields(n, fields)
		if fault != nil {
			return nil, fault
		}
		data = append(data, one)
	}
	reply := map[string]any{"data": data}
	if len(data) > 0 {
		paging := map[string]any{"cursors": map[string]any{"after": all[end-1].PhoneNumberID}}
		if end < len(all) {
			paging["next"] = "https://graph.example.com/next"
		}
		reply["paging"] = paging
	}
	return reply, nil
}

func (s *Server) number(id string, fields []string) (any, *graphError) {
	for _, ns := range s.owned {
		for _, n := range ns {
			if n.PhoneNumberID == id {
				return numberFields(n, fields)
			}
		}
	}
	if _, business := s.owned[id]; business {
		return nil, &graphError{Code: 100, Message: "(#100) Tried accessing nonexisting field (display_phone_number) on node type (WhatsAppBusinessAccount)"}
	}
	return nil, &graphError{Code: 100, Subcode: 33, Message: "Unsupported get request. Object with ID '" + id + "' does not exist."}
}

func numberFields(n Number, fields []string) (any, *graphError) {
	all := map[string]any{
		"id": n.PhoneNumberID, "display_phone_number": "+" + n.Phone, "verified_name": "Verified", "quality_rating": "GREEN",
		"code_verification_status": "VERIFIED",
	}
	out := map[string]any{"id": n.PhoneNumberID}
	for _, f := range fields {
		v, ok := all[f]
		if f != "" && !ok {
			return nil, &graphError{Code: 100, Message: "(#100) Tried accessing nonexisting field (" + f + ") on node type (WhatsAppBusinessPhoneNumber)"}
		}
		if ok {
			out[f] = v
		}
	}
	return out, nil
}
