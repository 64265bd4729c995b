package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A rule says what a subtree of the module may import of the module. "p" is
// the package p alone, "p/..." is p and all below it.
type rule struct {
	subtree string
	may     []string
	why     string
}

// diagram is the design. The longest subtree that holds a package rules it.
var diagram = []rule{
	{"gateway", nil, "the nouns know nobody, so that everybody may know them"},
	{"gateway/whatsapp", []string{"gateway", "gateway/whatsapp/..."}, edge},
	{"gateway/cloudapi", []string{"gateway", "gateway/cloudapi/..."}, edge},
	{"gateway/sandbox", []string{"gateway", "gateway/sandbox/..."}, edge},
	{"gateway/store", []string{"gateway", "gateway/store/..."}, edge},
	{"gateway/api", []string{"gateway", "gateway/api/..."}, edge},
	{"gateway/web", []string{"gateway", "gateway/web/..."}, edge},
	{"gateway/client", []string{"gateway/client/..."}, "a stranger's program calls a gateway without the rest of it"},
	{"debounce", []string{"debounce/..."}, "a stranger can use the windows without the rest"},
	{"context/transcript", contextual, downward},
	{"context/budget", contextual, downward},
	{"context/recall", contextual, downward},
	{"context/prompt", contextual, downward},
	{"dispatch", []string{"gateway", "debounce", "context/...", "dispatch/..."}, "runs reach the edges through interfaces that only cmd satisfies"},
	{"cmd/wagent", []string{"..."}, "the only package that sees everything"},
}

var contextual = []string{"gateway", "context/..."}

const (
	edge     = "edges never meet: only cmd joins them"
	downward = "what a model reads depends on nouns and on other parts of the context"
)

// A confinement keeps a dependency in the packages that wrap it. Tests may
// import it anywhere, and so may the packages named …test that help them.
type confinement struct {
	dependency string
	to         []string
	why        string
}

var confinements = []confinement{
	{"go.mau.fi", []string{"gateway/whatsapp/..."}, "one package knows WhatsApp's own protocol: whatsmeow, libsignal and what they need"},
	{"github.com/labstack/echo", []string{"gateway/api/...", "gateway/web/..."}, "elsewhere HTTP is net/http"},
	{"github.com/swaggest", []string{"gateway/api/openapi"}, "one package describes the API"},
	{"github.com/pb33f/libopenapi", nil, "it validates in tests: it is not to be in the binary"},
	{"github.com/pb33f/libopenapi-validator", nil, "it validates in tests: it is not to be in the binary"},
	{"github.com/getkin/kin-openapi", nil, "it validates in tests: it is not to be in the binary"},
	{"github.com/danielgtaylor/huma", []string{"gateway/api/...", "gateway/web/..."}, "elsewhere HTTP is net/http"},
	{"rsc.io/qr", []string{"gateway/api/...", "cmd/..."}, "only those who show a QR code draw it"},
	{"github.com/redis/go-redis", []string{"debounce/...", "context/recall/...", "cmd/..."}, "Redis is the timer and the short memory, nothing else"},
	{"github.com/alicebob/miniredis", []string{"debounce/inmemory"}, "one package is the Redis of who needs none of its own"},
	{"database/sql", []string{"gateway/store/...", "gateway/whatsapp/..."}, "SQL has one home, and whatsmeow's store"},
	{"github.com/jackc/pgx", []string{"gateway/store/...", "gateway/whatsapp/...", "cmd/wagent/internal/bench/runs", "cmd/wagent/internal/bench/api", "cmd/wagent/internal/bench/schema"}, "SQL has one home, and whatsmeow's store; a bench asks the server what it did"},
	{"modernc.org/sqlite", []string{"gateway/store/...", "gateway/whatsapp/..."}, "SQL has one home, and whatsmeow's store"},
	{"github.com/tiktoken-go/tokenizer", []string{"context/budget"}, "one package counts tokens, and knows how far the count is to be believed"},
	{"github.com/openai/openai-go", []string{"dispatch/llm/openai/..."}, "a provider's types end in its package"},
	{"github.com/prometheus/client_golang/prometheus/promhttp", []string{"gateway/api/..."}, "only the API serves metrics"},
}

// doubles stand in for servers in tests, in benches and in the demo. What
// imports testing registers its flags in the binary.
var doubles = []string{"graphtest", "llmtest", "watest"}

// The budgets of a package. Few may exceed them, and each says why.
const (
	maxLines    = 1500 // without tests
	maxExported = 15   // package-level names
	maxExcused  = 3
)

// A pkg is what go list says of a package of ours, in a build with everything
// that a tag can add.
type pkg struct {
	ImportPath, Name, Dir, Doc string
	GoFiles                    []string
	Imports, Deps              []string
	Module                     struct{ Path string }
	path                       string // within the module
}

var packages = sync.OnceValues(func() ([]pkg, error) {
	var all []pkg
	err := goList(func(dec *json.Decoder) error {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			return err
		}
		p.path = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/")
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
		return nil
	}, "-tags=watest", "-json=ImportPath,Name,Dir,Doc,GoFiles,Imports,Deps,Module", "./...")
	return all, err
})

// goList runs go list at the module's root and calls next until its output
// ends.
func goList(next func(*json.Decoder) error, args ...string) error {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		if err := next(dec); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func listed(t *testing.T) []pkg {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

// within reports whether path is the package or in the subtree of a pattern.
func within(path, pattern string) bool {
	tree, isTree := strings.CutSuffix(pattern, "...")
	tree = strings.TrimSuffix(tree, "/")
	return path == tree || isTree && (tree == "" || strings.HasPrefix(path, tree+"/"))
}

func withinAny(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return within(path, p) })
}

func ruleOf(path string) (rule, bool) {
	var longest rule
	for _, r := range diagram {
		if within(path, r.subtree+"/...") && len(r.subtree) > len(longest.subtree) {
			longest = r
		}
	}
	// What lies below gateway is an edge of its own, or nothing that we know.
	return longest, longest.subtree != "" && (longest.subtree != "gateway" || path == "gateway")
}

func TestImportDiagram(t *testing.T) {
	for _, p := range listed(t) {
		r, ok := ruleOf(p.path)
		if !ok {
			t.Errorf("%s does not stand in the diagram: add it, with what it may import and why", p.path)
			continue
		}
		for _, imp := range p.Imports {
			ours, ok := strings.CutPrefix(imp, p.Module.Path+"/")
			if ok && !withinAny(ours, r.may) {
				t.Errorf("%s imports %s: %s", p.path, ours, r.why)
			}
		}
	}
}

func TestGatewayImportsOnlyTheStandardLibrary(t *testing.T) {
	for _, p := range listed(t) {
		if p.path != "gateway" {
			continue
		}
		for _, imp := range p.Imports {
			if first, _, _ := strings.Cut(imp, "/"); strings.Contains(first, ".") {
				t.Errorf("gateway imports %s: the nouns need nothing but the standard library", imp)
			}
		}
		return
	}
	t.Error("there is no package gateway")
}

func TestDependenciesAreConfined(t *testing.T) {
	for _, p := range listed(t) {
		if strings.HasSuffix(p.Name, "test") && !slices.Contains(doubles, p.Name) {
			continue
		}
		for _, imp := range p.Imports {
			for _, c := range confinements {
				if within(imp, c.dependency+"/...") && !withinAny(p.path, c.to) {
					t.Errorf("%s imports %s: %s", p.path, imp, c.why)
				}
			}
		}
	}
}

func TestDoublesDoNotImportTesting(t *testing.T) {
	for _, p := range listed(t) {
		if slices.Contains(doubles, p.Name) && slices.Contains(p.Deps, "testing") {
			t.Errorf("%s imports testing, itself or through another package: the demo and the benches link it", p.path)
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range listed(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.path)
		}
	}
}

func TestPackageNames(t *testing.T) {
	standard := map[string]bool{}
	out, err := exec.Command("go", "list", "std").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		segments := strings.Split(path, "/")
		if !slices.Contains(segments, "internal") && !slices.Contains(segments, "vendor") {
			standard[segments[len(segments)-1]] = true
		}
	}
	if !standard["context"] {
		t.Fatal("go list std does not know context")
	}
	for _, p := range listed(t) {
		switch {
		case slices.Contains([]string{"util", "utils", "common", "helpers", "types", "models", "manager"}, p.Name):
			t.Errorf("%s is called %s, which says nothing of what it provides", p.path, p.Name)
		case standard[p.Name]:
			t.Errorf("%s is called %s like a package of the standard library", p.path, p.Name)
		}
	}
}

func TestBudgets(t *testing.T) {
	var over []string
	for _, p := range listed(t) {
		if p.Name == "main" {
			continue // nobody reads it as one thing: it is the wiring and the subcommands
		}
		lines, names, comment := sizeOf(t, p)
		if slices.Contains(doubles, p.Name) {
			lines = 0 // a double's are the tests'
		}
		if lines <= maxLines && names <= maxExported {
			continue
		}
		over = append(over, p.path)
		if !strings.Contains(comment, "budget") {
			t.Errorf("%s has %d lines and %d exported names (at most %d and %d): split it, or give the reason in its package comment, with the word budget",
				p.path, lines, names, maxLines, maxExported)
		}
	}
	if len(over) > maxExcused {
		t.Errorf("%d packages are over budget, at most %d may be: %s", len(over), maxExcused, strings.Join(over, ", "))
	}
}

// sizeOf counts a package's lines and its exported package-level names, and
// returns its whole comment, of which go list tells the first sentence.
func sizeOf(t *testing.T, p pkg) (lines, names int, comment string) {
	t.Helper()
	for _, name := range p.GoFiles {
		src, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(src), "\n")
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		comment += file.Doc.Text()
		for _, d := range file.Decls {
			names += exported(d)
		}
	}
	return lines, names, comment
}

func exported(d ast.Decl) int {
	n := 0
	count := func(id *ast.Ident) {
		if id.IsExported() {
			n++
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			count(d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				count(s.Name)
			case *ast.ValueSpec:
				for _, id := range s.Names {
					count(id)
				}
			}
		}
	}
	return n
}
