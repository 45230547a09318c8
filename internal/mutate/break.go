package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"

	"blackswan/internal/clauses"
)

// site is one marked line of code and the way to break it at run time.
type site struct {
	File    string
	Line    int
	Clauses []string
	How     string // "condition turned round", "statement skipped", ...
	Err     error  // the line cannot be broken
}

// ID is what BLACKSWAN_MUTANT holds to break the site: "ike/resume.go:47".
func (s site) ID() string { return fmt.Sprintf("%s:%d", s.File, s.Line) }

// insertion is text to put into a file. Breaking a line only ever inserts, and
// never a line, so that lines keep their numbers.
type insertion struct {
	at   int
	text string
}

// breakMarks returns the text of a file in which every line that is marked with
// a wanted clause is guarded by a switch, the sites, and the name of its
// package. A line that cannot be broken is a site with an Err and stays as it is.
func breakMarks(name string, text []byte, wanted map[string]bool) (broken []byte, sites []site, pkg string, err error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, "", err
	}
	var edits []insertion
	for _, m := range clauses.FileMarks(name, fset, file) {
		if !wanted[m.Clause] {
			continue
		}
		if n := len(sites); n > 0 && sites[n-1].Line == m.Line {
			sites[n-1].Clauses = append(sites[n-1].Clauses, m.Clause)
			continue
		}
		s := site{File: name, Line: m.Line, Clauses: []string{m.Clause}}
		b := breaker{fset: fset, text: text, id: s.ID(), line: m.Line}
		ast.PreorderStack(file, nil, b.visit)
		s.How, s.Err = b.choose()
		edits = append(edits, b.edits...)
		sites = append(sites, s)
	}
	slices.SortStableFunc(edits, func(a, b insertion) int { return cmp.Compare(a.at, b.at) })
	from := 0
	for _, e := range edits {
		broken = append(append(broken, text[from:e.at]...), e.text...)
		from = e.at
	}
	return append(broken, text[from:]...), sites, file.Name.Name, nil
}

// breaker looks for what is on one marked line.
type breaker struct {
	fset *token.FileSet
	text []byte
	id   string
	line int

	begins  *place      // outermost statement that begins on the line
	ends    *place      // innermost statement that ends on it
	value   ast.Expr    // last value of a key: value on the line
	operand ast.Expr    // last operand of && or || that lies wholly on the line
	owner   ast.Node    // declaration that begins on the line, if no statement does
	edits   []insertion // what choose decided
}

// place is a statement and where it stands.
type place struct {
	stmt  ast.Stmt
	stack []ast.Node // what is around it, outermost first
}

// above returns what is n levels around the statement.
func (p *place) above(n int) ast.Node { return p.stack[len(p.stack)-n] }

// inList reports whether the statement stands in a list of statements, where
// it can be wrapped in an if.
func (p *place) inList() bool {
	switch p.above(1).(type) {
	case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause:
		return true
	}
	return false
}

// function returns the type of the innermost function around the statement.
func (p *place) function() *ast.FuncType {
	for _, n := range slices.Backward(p.stack) {
		switch n := n.(type) {
		case *ast.FuncDecl:
			return n.Type
		case *ast.FuncLit:
			return n.Type
		}
	}
	return nil
}

func (b *breaker) visit(n ast.Node, stack []ast.Node) bool {
	first, last := b.lineOf(n.Pos()), b.lineOf(n.End())
	if first > b.line || last < b.line {
		return false
	}
	switch n := n.(type) {
	case *ast.BlockStmt, *ast.EmptyStmt:
	case ast.Stmt:
		p := &place{stmt: n, stack: slices.Clone(stack)}
		if first == b.line && b.begins == nil {
			b.begins = p
		}
		if last == b.line && p.inList() {
			b.ends = p
		}
	case *ast.KeyValueExpr:
		if first == b.line && wrappable(n.Value) {
			b.value = n.Value
		}
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			for _, x := range []ast.Expr{n.X, n.Y} {
				if b.lineOf(x.Pos()) == b.line && b.lineOf(x.End()) == b.line && !logical(x) {
					b.operand = x
				}
			}
		}
	case *ast.FuncDecl, *ast.GenDecl:
		if first == b.line {
			b.owner = n
		}
	case *ast.ValueSpec:
		if decl, ok := stack[len(stack)-1].(*ast.GenDecl); ok && decl.Tok == token.VAR && first == b.line {
			b.owner = n
		}
	}
	return true
}

func (b *breaker) lineOf(p token.Pos) int { return b.fset.Position(p).Line }

func logical(x ast.Expr) bool {
	n, ok := x.(*ast.BinaryExpr)
	return ok && (n.Op == token.LAND || n.Op == token.LOR)
}

// wrappable reports whether x may be the argument of a function call.
func wrappable(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CompositeLit:
		return x.Type != nil
	case *ast.BasicLit, *ast.FuncLit:
		return false // untyped, or code of its own
	case *ast.Ident:
		return x.Name != "nil"
	}
	return true
}

// choose decides how the line is broken, from what is most exactly on it to
// what merely ends there.
func (b *breaker) choose() (how string, err error) {
	switch {
	case b.begins != nil:
		return b.breakStmt(b.begins)
	case b.owner != nil:
		return b.breakDecl(b.owner)
	case b.operand != nil:
		b.turn(b.operand)
		return "operand turned round", nil
	case b.value != nil:
		b.spoilExpr(b.value, "")
		return "value spoiled", nil
	case b.ends != nil:
		return b.breakStmt(b.ends)
	}
	return "", errors.New("nothing on this line can be broken: mark a statement")
}

func (b *breaker) insert(p token.Pos, format string, args ...any) {
	b.edits = append(b.edits, insertion{b.fset.Position(p).Offset, fmt.Sprintf(format, args...)})
}

// turn makes a condition its opposite while the mutant is on.
func (b *breaker) turn(cond ast.Expr) {
	b.insert(cond.Pos(), "(")
	b.insert(cond.End(), ") != mutantOn(%q)", b.id)
}

// skip leaves out the statements from one to another.
func (b *breaker) skip(from, to token.Pos) {
	b.insert(from, " if !mutantOn(%q) { ", b.id)
	b.insert(to, " }")
}

// spoilExpr breaks a value on its way. Its type is named where the compiler
// cannot know it.
func (b *breaker) spoilExpr(x ast.Expr, typ string) {
	if id, ok := x.(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
		b.turn(x)
		return
	}
	if typ != "" {
		typ = "[" + typ + "]"
	}
	b.insert(x.Pos(), "mutantValue%s(%q, ", typ, b.id)
	b.insert(x.End(), ")")
}

func (b *breaker) source(n ast.Node) string {
	return string(b.text[b.fset.Position(n.Pos()).Offset:b.fset.Position(n.End()).Offset])
}

func (b *breaker) breakStmt(p *place) (string, error) {
	switch s := p.stmt.(type) {
	case *ast.IfStmt:
		return b.breakCondition(s.Cond), nil
	case *ast.CaseClause:
		return b.breakCase(s, p.above(2)) // above(1) is the body of the switch
	case *ast.ReturnStmt:
		return b.breakReturn(s, p.function())
	case *ast.AssignStmt:
		if s.Tok == token.DEFINE && p.inList() {
			return b.spoilFirst(s.Lhs, s.End())
		}
	case *ast.DeclStmt:
		var names []ast.Expr
		if decl := s.Decl.(*ast.GenDecl); decl.Tok == token.VAR && len(decl.Specs) == 1 {
			for _, n := range decl.Specs[0].(*ast.ValueSpec).Names {
				names = append(names, n)
			}
		}
		return b.spoilFirst(names, s.End())
	case *ast.CommClause:
		return "", errors.New("a case of a select cannot be left out: mark a statement below it")
	}
	if !p.inList() {
		return "", errors.New("this statement stands in no list: mark the line of a statement of its own")
	}
	b.skip(p.stmt.Pos(), p.stmt.End())
	return "statement skipped", nil
}

// breakCondition turns the operand that the marked line holds of a condition
// over several lines, or the whole of it.
func (b *breaker) breakCondition(cond ast.Expr) string {
	if b.lineOf(cond.End()) > b.line && b.operand != nil {
		b.turn(b.operand)
		return "operand turned round"
	}
	b.turn(cond)
	return "condition turned round"
}

// breakCase turns the conditions of a case; where a case holds values, or is
// the default, its body is left out.
func (b *breaker) breakCase(c *ast.CaseClause, of ast.Node) (string, error) {
	if sw, ok := of.(*ast.SwitchStmt); ok && sw.Tag == nil && c.List != nil {
		for _, cond := range c.List[1:] {
			b.turn(cond)
		}
		return b.breakCondition(c.List[0]), nil
	}
	if len(c.Body) == 0 {
		return "", errors.New("an empty case: mark the case that does something")
	}
	b.skip(c.Colon+1, c.Body[len(c.Body)-1].End())
	return "case skipped", nil
}

// spoilFirst breaks the first variable of a list after it got its value.
func (b *breaker) spoilFirst(names []ast.Expr, end token.Pos) (string, error) {
	for _, n := range names {
		if id, ok := n.(*ast.Ident); ok && id.Name != "_" {
			b.insert(end, "; mutantSpoil(%q, &%s)", b.id, id.Name)
			return id.Name + " spoiled", nil
		}
	}
	return "", errors.New("no variable gets a value here: mark another line")
}

// breakReturn turns the first bool of the results; without one it swallows the
// error; without either it spoils the first result that says something.
func (b *breaker) breakReturn(r *ast.ReturnStmt, fun *ast.FuncType) (string, error) {
	if len(r.Results) == 0 {
		b.skip(r.Pos(), r.End())
		return "return skipped", nil
	}
	var types []string
	for _, f := range fun.Results.List {
		for range max(1, len(f.Names)) {
			types = append(types, b.source(f.Type))
		}
	}
	if len(types) != len(r.Results) {
		return "", errors.New("this returns all results of a call: give them names on a marked line first")
	}
	best := -1
	for i, t := range types {
		switch x := b.source(r.Results[i]); {
		case t == "bool":
			b.turn(r.Results[i])
			return "result turned round", nil
		case x == "nil":
		case t == "error", best < 0:
			best = i
		}
	}
	if best < 0 {
		return "", errors.New("this returns nothing but nil: mark the line that decides it")
	}
	b.spoilExpr(r.Results[best], types[best])
	if types[best] == "error" {
		return "error swallowed", nil
	}
	return "result spoiled", nil
}

// breakDecl spoils the first value of a variable of the package.
func (b *breaker) breakDecl(n ast.Node) (string, error) {
	spec, ok := n.(*ast.ValueSpec)
	if !ok || len(spec.Values) == 0 || !wrappable(spec.Values[0]) {
		return "", errors.New("a declaration is not code: mark a statement that uses it")
	}
	typ := ""
	if spec.Type != nil {
		typ = b.source(spec.Type)
	}
	b.spoilExpr(spec.Values[0], typ)
	return "value spoiled", nil
}
