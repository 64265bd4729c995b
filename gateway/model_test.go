package gateway

import (
	"strings"
	"testing"
)

func TestAModelsNameFitsIntoALabel(t *testing.T) {
	a := DefaultAgent()
	a.Name, a.SystemPrompt = "n", "p"
	for n, valid := range map[int]bool{maxModel: true, maxModel + 1: false} {
		if a.Model = strings.Repeat("m", n); (a.Validate() == nil) != valid {
			t.Errorf("Validate of a model of %d bytes = %v", n, a.Validate())
		}
	}
}
