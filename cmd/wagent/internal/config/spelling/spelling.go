// Package spelling helps those who misspell: it names what they may have meant.
package spelling

import (
	"math"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Suggest returns the rest of a sentence that names the candidate nearest to
// s, or all of them, called noun, where none is near.
func Suggest(s string, candidates []string, noun string) string {
	slices.Sort(candidates)
	best, nearest := "", math.MaxInt
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(strings.ToLower(s[:min(len(s), 64)]), c); d < nearest {
			best, nearest = c, d
		}
	}
	switch {
	case best == "":
		return ""
	case nearest <= max(2, len(best)/3) || len(s) > 2 && strings.Contains(best, s):
		return ", did you mean " + best + "?"
	default:
		return ", the " + noun + " are " + strings.Join(candidates, ", ")
	}
}
