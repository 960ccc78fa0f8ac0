package release

import (
	"archive/tar"
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func unpack(archive []byte, limits Limits) (string, error) {
	var to bytes.Buffer
	err := extract(bytes.NewReader(archive), int64(len(archive)), ClientAuthenticator, limits, &to)
	return to.String(), err
}

func TestExtract(t *testing.T) {
	t.Parallel()
	program := file{name: ClientAuthenticator, content: fakeClient}
	zeros := strings.Repeat("\x00", 4<<20)
	for name, test := range map[string]struct {
		files []file
		// want is a part of the error, none if the program comes out.
		want string
		// only is "tar" or "zip" for what one format alone can express.
		only string
	}{
		"as EKS Distro packs it": {files: asPublished, only: "tar"},
		"alone":                  {files: []file{program}},
		"in a directory":         {files: []file{{name: "x/y/" + ClientAuthenticator, content: fakeClient}}},
		"a namesake below": {files: []file{
			{name: "LICENSES/" + ClientAuthenticator, content: "licence"}, program,
			{name: "docs/a/" + ClientAuthenticator, content: "text"},
		}},
		"two of them": {files: []file{
			{name: "a/" + ClientAuthenticator, content: "1"}, {name: "b/" + ClientAuthenticator, content: "2"},
		}, want: "two files"},
		"none":            {files: []file{{name: "kubectl", content: "x"}}, want: "it has no aws-iam-authenticator"},
		"empty program":   {files: []file{{name: ClientAuthenticator}}, want: "is empty"},
		"a directory":     {files: []file{{name: ClientAuthenticator + "/", kind: tar.TypeDir}}, want: "it has no"},
		"a link":          {files: []file{{name: ClientAuthenticator, link: "/bin/sh"}}, want: "is a link"},
		"a hard link":     {files: []file{{name: ClientAuthenticator, kind: tar.TypeLink}}, want: "is a link", only: "tar"},
		"a device":        {files: []file{{name: ClientAuthenticator, kind: tar.TypeChar}}, want: "it has no", only: "tar"},
		"parent":          {files: []file{program, {name: "../evil", content: "x"}}, want: "outside"},
		"deep parent":     {files: []file{program, {name: "a/../../evil", content: "x"}}, want: "outside"},
		"inner parent":    {files: []file{program, {name: "a/../b", content: "x"}}, want: "outside"},
		"parent itself":   {files: []file{{name: "../" + ClientAuthenticator, content: "x"}}, want: "outside"},
		"absolute":        {files: []file{program, {name: "/etc/passwd", content: "x"}}, want: "outside"},
		"backslashes":     {files: []file{program, {name: `..\evil`, content: "x"}}, want: "outside"},
		"drive":           {files: []file{program, {name: `C:\evil`, content: "x"}}, want: "outside"},
		"network path":    {files: []file{program, {name: `\\host\share`, content: "x"}}, want: "outside"},
		"bomb":            {files: []file{{name: ClientAuthenticator, content: zeros}}, want: "unpacks to more than"},
		"bomb beside":     {files: []file{program, {name: "README", content: zeros}}, want: "unpacks to more than"},
		"many entries":    {files: append(make1000(), program), want: "more than 100 entries"},
		"escaping link":   {files: []file{program, {name: "lib", link: "../../lib"}}},
		"dots in a name":  {files: []file{{name: "v1..2/" + ClientAuthenticator, content: fakeClient}}},
		"strange letters": {files: []file{program, {name: "Lizenz für alle", content: "x"}}},
	} {
		for format, pack := range map[string]func(testing.TB, []file) []byte{"tar": tarGz, "zip": zipped} {
			if test.only != "" && test.only != format {
				continue
			}
			t.Run(format+" "+name, func(t *testing.T) {
				t.Parallel()
				got, err := unpack(pack(t, test.files), Limits{Download: 1 << 20, Unpacked: 1 << 20, Entries: 100})
				if test.want == "" {
					if err != nil || got != fakeClient {
						t.Errorf("got %q, %v", got, err)
					}
				} else if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
			})
		}
	}
}

func make1000() []file {
	files := make([]file, 1000)
	for i := range files {
		files[i].name = "f" + strings.Repeat("x", i%50)
	}
	return files
}

func TestExtractDamaged(t *testing.T) {
	t.Parallel()
	whole := tarGz(t, asPublished)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 0xff // in gzip's own checksum
	for name, archive := range map[string][]byte{
		"empty":         {},
		"text":          []byte("<html>not an archive</html>"),
		"gzip, not tar": tarGz(t, nil)[:12],
		"cut":           whole[:len(whole)/2],
		"flipped":       flipped,
		"zip, cut":      zipped(t, []file{{name: ClientAuthenticator, content: fakeClient}})[:60],
	} {
		if got, err := unpack(archive, DefaultLimits()); err == nil {
			t.Errorf("%s: got %q, want an error", name, got)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(tarGz(f, asPublished))
	f.Add(zipped(f, []file{{name: ClientAuthenticator, content: fakeClient}}))
	f.Add(tarGz(f, []file{{name: "../x", content: "y"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := unpack(data, Limits{Download: 1 << 16, Unpacked: 1 << 16, Entries: 10})
		if err == nil && len(got) == 0 {
			t.Error("an empty program")
		}
		if len(got) > 1<<16+1 {
			t.Errorf("%d bytes", len(got))
		}
	})
}

func FuzzCheckEntry(f *testing.F) {
	for _, s := range []string{"a", "./a/b", "../a", "/a", `a\..\..\b`, "C:a", ".", "./", "a//b", "..", "a/.."} {
		f.Add(s)
	}
	root := string(filepath.Separator) + filepath.Join("some", "where")
	f.Fuzz(func(t *testing.T, name string) {
		if checkEntry(name) != nil {
			return
		}
		at := filepath.Join(root, filepath.FromSlash(strings.ReplaceAll(name, `\`, "/")))
		if at != root && !strings.HasPrefix(at, root+string(filepath.Separator)) {
			t.Errorf("%q leads to %s", name, at)
		}
	})
}
