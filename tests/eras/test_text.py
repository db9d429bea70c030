"""Functions are found in C text whatever stands around them, and cut where a person would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpages.eras.text import Definition, definitions


def find(source: str, *names: str) -> list[Definition]:
    return definitions(source, frozenset(names))


def only(source: str, name: str) -> Definition:
    (found,) = find(source, name)
    return found


BODY = "{ if (a) return 1; return 2; }"
HEADS = [
    "int f(int a)",
    "static __always_inline struct page *\nf(int a)",
    'static int __must_check __attribute__((noinline, section(".text.f"))) f(int a)',
    "static noinline_for_stack int f(int (*cb)(int), int a) __acquires(&zone->lock)",
    "__printf(1, 2) int f(const char *a, ...)",
    "int f(a, b)\n\tint a;\n\tchar *b;",
    "EXPORT_SYMBOL(g)\nint f(int a)",
    "int /* f(x) { */ f(int a) // {",
    "struct s { int f; } x = { .f = 3 };\nint f(int a)",
    "int f(int a);\nint f(int a)",
    "static int (*table[])(int) = { f, g };\nint f(int a)",
    "#define g(x) { (x)\nint f(int a)",
]


@pytest.mark.parametrize("head", HEADS)
def test_a_function_is_found_behind_any_head(head: str) -> None:
    found = only(f"int before(void) {{ f(1); }}\n{head}\n{BODY}\nint after(void) {{ f(2); }}\n", "f")
    assert found.text.endswith("{ if ( a ) return 1 ; return 2 ; }")
    assert "before" not in found.text


@pytest.mark.parametrize(
    "source",
    [
        "int f(int a);",
        "/* int f(int a) { } */",
        'char *s = "int f(int a) {}";',
        "int g(void) { f(1); { f(2); } }",
        "struct s x = { f(1) };",
        "static int y = f(3) + ({ f(4); });",
        "",
        "f",
        "f(",
        "int f(int a) {",
        "/* never closed",
        '"never closed',
    ],
)
def test_only_definitions_are_found(source: str) -> None:
    assert find(source, "f") == []


def test_layout_and_comments_make_no_difference() -> None:
    plain = only("int f(int a)\n{\n\ta += 1;\n\treturn g(a, 'x', \"a b\");\n}\n", "f")
    other = only("int  f ( int a ) { a+=1; /* one */ return g(a,\n 'x',\\\n \"a b\"); // two\n}", "f")
    assert plain.text == other.text
    assert only('int f(int a) { return g("a  b"); }', "f").text != only('int f(int a) { return g("a b"); }', "f").text
    assert only("int f(int a) { return a + +a; }", "f").text != only("int f(int a) { return a ++a; }", "f").text


def test_statements_are_those_of_a_person_with_their_lines() -> None:
    source = """\
int f(struct page *page,
      int n)
{
	for (i = 0; i < n; i++) {
		/* not
		counted */
		if (page[i].flags == (x ? 1 : 2))
			g(page,
				i);
		else
			h();
	}
	switch (n) {
	case A:
	default:
		break;
	}
out:
	return 0;
}
"""
    cut = [(one.first, one.last, one.text) for one in only(source, "f").statements]
    assert cut == [
        (1, 3, "int f ( struct page * page , int n ) {"),
        (4, 4, "for ( i = 0 ; i < n ; i ++ ) {"),
        (7, 9, "if ( page [ i ] . flags == ( x ? 1 : 2 ) ) g ( page , i ) ;"),
        (10, 11, "else h ( ) ;"),
        (12, 12, "}"),
        (13, 13, "switch ( n ) {"),
        (14, 14, "case A :"),
        (15, 15, "default :"),
        (16, 16, "break ;"),
        (17, 17, "}"),
        (18, 18, "out :"),
        (19, 19, "return 0 ;"),
        (20, 20, "}"),
    ]


def test_branches_of_the_preprocessor_may_open_the_same_brace_twice() -> None:
    source = """\
int f(int a)
{
#ifdef CONFIG_X
	if (a) {
#else
	if (!a) {
#endif
		g();
	}
	return 1;
}
int h(void) { return 2; }
"""
    first, second = find(source, "f", "h")
    assert first.text.endswith("return 1 ; }")
    assert [one.text for one in first.statements if one.text.startswith("#")] == ["#ifdef CONFIG_X", "#else", "#endif"]
    assert second.text == "int h ( void ) { return 2 ; }"


def test_each_condition_has_its_own_definition() -> None:
    source = """\
#if defined(CONFIG_SMP) /* many */
#define lock(p) \\
	spin_trylock(p)
#else
#define lock(p) NULL
#endif
#ifdef CONFIG_NUMA
int f(void) { return 1; }
#else
static inline int f(void) { return 2; }
#endif
"""
    found = [(one.name, one.where, one.text) for one in find(source, "lock", "f")]
    assert found == [
        ("lock", "#if defined ( CONFIG_SMP )", "#define lock ( p ) spin_trylock ( p )"),
        ("lock", "#if defined ( CONFIG_SMP ) #else", "#define lock ( p ) NULL"),
        ("f", "#ifdef CONFIG_NUMA", "int f ( void ) { return 1 ; }"),
        ("f", "#ifdef CONFIG_NUMA #else", "static inline int f ( void ) { return 2 ; }"),
    ]


@given(st.text(alphabet="f(){};#\"'/*\\\n =,aif ", max_size=60))
def test_no_text_is_too_strange(source: str) -> None:
    for found in find(source, "f"):
        assert found.statements
        assert 1 <= found.statements[0].first <= found.statements[-1].last <= source.count("\n") + 1
    # What stands before does not hide a function, as long as it is whole.
    find(source + "\nint f(int a) { return a; }\n", "f")
