package faults_test

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/render"
)

// book is where one backend has its mappings.
type book struct {
	backend string
	// mapped is somebody who is in it all the time.
	mapped person
	// write maps these people and no others.
	write func(people ...person)
	// damage makes the leaver's entry, or all, unreadable.
	damage func()
	// says is what stands on the readiness page then.
	says string
}

func (b book) healthy() string { return `backend_healthy{backend="` + b.backend + `"}` }

// TestOtherBackends: what is promised for aws-auth holds for the other backends
// too. A table that makes no sense takes nobody's access away, is said, and
// mends itself; the others go on.
func TestOtherBackends(t *testing.T) {
	t.Parallel()
	w := newPlane(t, v1alpha1.BackendCRD, v1alpha1.BackendMountedFile, v1alpha1.BackendDynamicFile)
	books := []book{w.crdBook(paula), w.mountedBook(pedro), w.dynamicBook(rosa)}
	for _, b := range books {
		b.write(b.mapped)
	}
	w.startAuthenticator()
	logins := w.keepLoggingIn(t, paula, pedro, rosa)
	began := time.Now()

	for _, b := range books {
		w.step(b.backend, func(t *testing.T) {
			b.write(b.mapped, leaver)
			t.Logf("whoever comes is in after %s", milliseconds(w.untilGranted(leaver)))
			w.waitMetric(b.healthy(), isOne)

			b.damage()
			w.waitReadyz(b.says)
			w.waitMetric(b.healthy(), isZero)
			for _, other := range books {
				if other.backend != b.backend {
					w.waitMetric(other.healthy(), isOne)
				}
			}
			w.mustBeGranted(b.mapped, leaver)

			b.write(b.mapped, joiner)
			t.Logf("mended: whoever came with that is in after %s", milliseconds(w.untilGranted(joiner)))
			w.untilRefused(leaver)
			w.waitMetric(b.healthy(), isOne)

			b.write(b.mapped)
			t.Logf("whoever goes is refused after %s", milliseconds(w.untilRefused(joiner)))
			logins.nobodyWasRefused(began)
		})
	}
	w.step("IAMIdentityMappings change while the API server is out of reach", func(t *testing.T) {
		crd := books[0]
		crd.write(crd.mapped, leaver)
		w.untilGranted(leaver)
		w.link.set(linkCut)
		crd.write(crd.mapped, joiner)
		w.waitReadyz("cannot be read")
		w.waitMetric(crd.healthy(), isZero)
		w.mustBeGranted(leaver) // it cannot be known yet
		w.link.set(linkUp)
		healed := time.Now()
		w.untilRefused(leaver)
		w.untilGranted(joiner)
		t.Logf("the change counts %s after the link is up", milliseconds(time.Since(healed)))
		w.waitMetric(crd.healthy(), isOne)
		logins.nobodyWasRefused(began)
	})
	w.step("authenticator restarted", func(t *testing.T) {
		w.authenticator.stop()
		w.startAuthenticator()
		up := time.Now()
		t.Logf("everybody is in %s after it is ready", milliseconds(logins.everybodyGetsIn(up)))
		steady := time.Now()
		w.mustBeRefused(leaver)
		logins.nobodyWasRefused(steady)
	})
}

var identityMappings = schema.GroupVersionResource{Group: "iamauthenticator.k8s.aws", Version: "v1alpha1", Resource: "iamidentitymappings"}

// crdBook has an IAMIdentityMapping for each person.
func (w *world) crdBook(mapped person) book {
	w.t.Helper()
	client, err := dynamic.NewForConfig(w.adminConfig())
	if err != nil {
		w.t.Fatal(err)
	}
	objects := client.Resource(identityMappings)
	name := func(p person) string { return strings.ToLower(p.name) }
	put := func(p person, username string) {
		w.t.Helper()
		groups := make([]any, 0, 1)
		for _, g := range p.entry().Groups {
			groups = append(groups, g)
		}
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": identityMappings.GroupVersion().String(), "kind": "IAMIdentityMapping",
			"metadata": map[string]any{"name": name(p)},
			"spec":     map[string]any{"arn": p.arn().String(), "username": username, "groups": groups},
		}}
		eventually(w.t, "IAMIdentityMapping "+name(p)+" is applied", func(ctx context.Context) bool {
			_, err := objects.Apply(ctx, name(p), o, metav1.ApplyOptions{FieldManager: "faults", Force: true})
			if err != nil && !apierrors.IsNotFound(err) { // the kind is not served yet
				w.t.Fatal(err)
			}
			return err == nil
		})
	}
	return book{
		backend: v1alpha1.BackendCRD, mapped: mapped, says: "what it said before stays in force",
		write: func(people ...person) {
			w.t.Helper()
			keep := map[string]bool{}
			for _, p := range people {
				keep[name(p)] = true
				put(p, p.entry().Username)
			}
			list, err := objects.List(w.t.Context(), metav1.ListOptions{})
			if err != nil {
				w.t.Fatal(err)
			}
			for _, o := range list.Items {
				if keep[o.GetName()] {
					continue
				}
				if err := objects.Delete(w.t.Context(), o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					w.t.Fatal(err)
				}
			}
		},
		damage: func() { put(leaver, "{{Nonsense}}") },
	}
}

// dynamicPath is where the DynamicFile backend reads.
func (w *world) dynamicPath() string { return w.layout.Authenticator("dynamic.json") }

func (w *world) replace(path string, data []byte) {
	w.t.Helper()
	if _, err := atomicfile.Write(path, data, atomicfile.Private); err != nil {
		w.t.Fatal(err)
	}
}

// mountedBook has the people in the authenticator's configuration file.
func (w *world) mountedBook(mapped person) book {
	return book{
		backend: v1alpha1.BackendMountedFile, mapped: mapped, says: "in force is something older",
		write: func(people ...person) {
			w.t.Helper()
			file, err := render.ServerConfig(w.input())
			if err != nil {
				w.t.Fatal(err)
			}
			file.Server.DynamicFilePath = w.dynamicPath()
			for _, p := range people {
				e := p.entry()
				file.Server.MapRoles = append(file.Server.MapRoles, config.MapRole{RoleARN: e.ARN, Username: e.Username, Groups: e.Groups})
			}
			w.writeConfig(file)
		},
		damage: func() {
			w.t.Helper()
			data, err := os.ReadFile(w.layout.AuthenticatorConfig())
			if err != nil {
				w.t.Fatal(err)
			}
			w.replace(w.layout.AuthenticatorConfig(), append(data, "\n\t: [\n"...))
		},
	}
}

// dynamicBook has the people in a file of JSON.
func (w *world) dynamicBook(mapped person) book {
	return book{
		backend: v1alpha1.BackendDynamicFile, mapped: mapped, says: "in force is something older",
		write: func(people ...person) {
			w.t.Helper()
			roles := []map[string]any{}
			for _, p := range people {
				e := p.entry()
				roles = append(roles, map[string]any{"rolearn": e.ARN, "username": e.Username, "groups": e.Groups})
			}
			data, err := json.Marshal(map[string]any{
				"mapRoles": roles, "LastUpdatedDateTime": strconv.FormatInt(time.Now().Unix(), 10),
			})
			if err != nil {
				w.t.Fatal(err)
			}
			w.replace(w.dynamicPath(), data)
		},
		damage: func() { w.t.Helper(); w.replace(w.dynamicPath(), []byte(`{"mapRoles": [`)) },
	}
}
