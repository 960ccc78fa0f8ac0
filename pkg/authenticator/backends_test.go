package authenticator

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/mapping"
)

// TestBackendModePath: a file says which backends there are, while people log in.
func TestBackendModePath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	modes, dynamic, file := filepath.Join(w.dir, "modes.json"), filepath.Join(w.dir, "dynamic.json"), filepath.Join(w.dir, "config.yaml")
	entry := func(username string) string {
		return "[{\"rolearn\": \"" + roleARN + "\", \"username\": \"" + username + "\"}]"
	}
	write := func(path, text string) {
		t.Helper()
		if _, err := atomicfile.Write(path, []byte(text), atomicfile.Private); err != nil {
			t.Fatal(err)
		}
	}
	name := func(backends string) {
		write(modes, `{"backendMode": "`+backends+`", "LastUpdatedDateTime": "1700000000"}`)
	}
	write(file, "clusterID: "+clusterID+"\nserver: {mapRoles: "+entry("mounted")+", dynamicBackendModePath: "+modes+", dynamicfilepath: "+dynamic+"}\n")
	write(dynamic, `{"mapRoles": `+entry("dynamic")+`}`)
	w.awsAuth(map[string]string{"mapRoles": entry("aws-auth")})

	w.start(func(s *config.Settings) {
		f, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		s.ConfigFile = file
		s.BackendMode = []string{mapping.BackendMountedFile}
		s.Apply(f)
	})
	w.waitReady()
	becomes := func(want string) {
		t.Helper()
		w.eventually("it is "+want, func() bool {
			a := w.review(w.presign(roleARN, clusterID))
			if !a.Status.Authenticated {
				t.Errorf("refused: %s", a.Status.Error)
			}
			return a.Status.User.Username == want
		})
	}
	becomes("mounted")
	name("EKSConfigMap MountedFile")
	becomes("aws-auth")
	name("DynamicFile")
	becomes("dynamic")
	// Not the table that the program was started with.
	write(file, strings.ReplaceAll(`clusterID: c
server: {mapRoles: ENTRY}
`, "ENTRY", entry("newer")))
	name("File DynamicFile")
	becomes("newer")

	name("Nonsense")
	w.eventually("readyz tells", func() bool {
		status, text := w.get(w.health + "/readyz")
		return status == http.StatusOK && strings.Contains(text, `backends in force are others: `+modes+`: backendMode: unknown backend mode "Nonsense"`)
	})
	becomes("newer")
	if err := os.Remove(modes); err != nil {
		t.Fatal(err)
	}
	w.eventually("the configuration's count", func() bool {
		_, text := w.get(w.health + "/metrics")
		return strings.Contains(text, `backend_healthy{backend="MountedFile"} 1`) && !strings.Contains(text, `backend_healthy{backend="DynamicFile"}`) &&
			strings.Contains(text, "dynamic_file_enabled 0")
	})
	becomes("newer")
}
