package config

import (
	"math"
	"slices"
	"strings"
)

// suggest returns the rest of a sentence that names the candidate nearest to
// s, or all of them, called noun, where none is near.
func suggest(s string, candidates []string, noun string) string {
	slices.Sort(candidates)
	best, nearest := "", math.MaxInt
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), c); d < nearest {
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

// distance is the number of edits (insert, delete, change or swap two
// neighbours) that make b of a. A longer text than any of our names is only
// measured.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
