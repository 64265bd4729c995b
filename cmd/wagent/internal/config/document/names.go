package document

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Prefix reads a CIDR; a bare address stands for itself alone.
func (v Value) Prefix() (netip.Prefix, bool) {
	const want = "a range of addresses such as 10.0.0.0/8"
	s, ok := v.Scalar(want)
	if !ok {
		return netip.Prefix{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		v.Fault("must be %s", want)
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

// HostPort reads where to listen; without a host, on every address.
func (v Value) HostPort(to *string) {
	const want = "an address such as 127.0.0.1:8080"
	s, ok := v.Scalar(want)
	if !ok {
		return
	}
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || strings.ContainsFunc(host, unicode.IsSpace) || strings.Contains(host, "/") {
		v.Fault("must be %s", want)
		return
	}
	*to = net.JoinHostPort(host, strconv.FormatUint(n, 10))
}

// Zone reads the name of a zone. The machine's own is none: replicas may
// stand in others.
func (v Value) Zone(to *string) {
	const want = "a zone of the IANA database, such as Europe/Paris"
	s, ok := v.Scalar(want)
	if !ok {
		return
	}
	if _, err := time.LoadLocation(s); err != nil || strings.EqualFold(s, "Local") {
		v.Fault("must be %s", want)
		return
	}
	*to = s
}

// Matching reads a text that re matches, if it is not empty; want is what it must be.
func (v Value) Matching(to *string, re *regexp.Regexp, want string) {
	s, ok := v.Scalar(want)
	switch {
	case !ok || s == "":
	case !re.MatchString(s):
		v.Fault("must be %s", want)
	default:
		*to = s
	}
}

// IsURL reports whether s is absolute, of one of the schemes, and says where
// its server is.
func IsURL(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) {
		return false
	}
	return u.Hostname() != "" || u.Query().Get("host") != "" && !strings.HasPrefix(u.Scheme, "http")
}

// Inline returns v as a document of its own, in which aliases would lead
// nowhere.
func (v Value) Inline() ([]byte, bool) {
	if hasAlias(v.Node) {
		v.Fault("must hold no aliases, write the values out")
		return nil, false
	}
	src, err := yaml.Marshal(v.Node)
	if err != nil {
		v.Fault("can not be written as YAML of their own, put them in a file")
	}
	return src, err == nil
}

func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// Durations reads at most so many durations, each between two others, which it may be.
func (v Value) Durations(to *[]time.Duration, most int, least, longest time.Duration) {
	out := []time.Duration{}
	v.List(func(v Value) {
		var d time.Duration
		v.DurationIn(&d, least, longest)
		out = append(out, d)
	})
	if len(out) > most {
		v.Fault("must have at most %d entries", most)
	}
	*to = out
}
