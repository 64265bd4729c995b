package machine

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		text string
		want Process
		bad  bool
	}{
		"a name with what separates": {
			text: "42 (a) b) (c) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 20 10 20 0 1 0 100\n",
			want: Process{PID: 42, Parent: 7, Name: "a) b) (c", CPU: 2 * time.Second, Ended: 300 * time.Millisecond},
		},
		"no name":         {text: "42 S 7", bad: true},
		"too few fields":  {text: "42 (x) S 7 1 2", bad: true},
		"what is no time": {text: "42 (x) S 7 42 42 0 -1 4194560 1 2 3 4 many 50 20 10 20 0 1 0 100", bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parse([]byte(tt.text))
			if tt.bad != (err != nil) || err == nil && got != tt.want {
				t.Errorf("parse = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

// TestFamily: what a child used counts while it lives, and once it has ended.
func TestFamily(t *testing.T) {
	before, err := Family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").Run(); err != nil {
		t.Fatal(err)
	}
	after, err := Family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	if after-before < 20*time.Millisecond || own <= 0 || CPU() < after {
		t.Errorf("the family used %v before and %v after its child, this process %v, the machine %v", before, after, own, CPU())
	}
	me, err := Look(os.Getpid())
	if err != nil || me.Parent != os.Getppid() {
		t.Errorf("Look = %+v, %v, want the parent %d", me, err, os.Getppid())
	}
	if _, err := Family(-1); err == nil {
		t.Error("Family(-1) finds a process")
	}
}
