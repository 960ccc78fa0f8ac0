package authenticator

import (
	"context"
	"errors"
	"fmt"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/mapping"
)

// openBackends prepares the backends that the server starts with.
func (s *Server) openBackends() error {
	set := &s.opts.Settings
	o := &opener{Server: s, client: &lazyClient{
		settings: set, direct: s.opts.UntilReady != "", connected: make(chan struct{}), instance: s.opts.Instance, log: s.opts.Log,
	}}
	modes, err := backend.NewModes(backend.ModesOptions{
		Configured: set.BackendMode, Path: set.DynamicBackendModePath, Open: o.open,
		Store: s.store, Log: s.opts.Log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	s.modes = modes
	o.later, set.Mounted = true, mapping.Mappings{} // the store has it
	s.runs = append(s.runs, modes.Run, o.client.runEvents)
	return nil
}

// opener makes backends.
type opener struct {
	*Server
	client *lazyClient
	// later says that the server has been made: the table that it was made with is
	// no longer there, and MountedFile reads it from the file.
	later bool
}

func (o *opener) open(name string) (func(context.Context), error) {
	set := &o.opts.Settings
	switch name {
	case mapping.BackendMountedFile:
		return o.mounted()
	case mapping.BackendDynamicFile:
		if set.DynamicFilePath == "" {
			return nil, errors.New("server.dynamicfilepath is not set")
		}
		return func(ctx context.Context) {
			backend.FollowDynamic(ctx, backend.DynamicOptions{
				Path: set.DynamicFilePath, StrictUserID: set.DynamicFileUserIDStrict, Grace: set.AWSAuthGracePeriod,
				Store: o.store, Log: o.opts.Log, Metrics: o.metrics,
			})
		}, nil
	}
	if err := o.client.connect(); err != nil {
		return nil, err
	}
	if name == mapping.BackendCRD {
		return backend.NewCRD(backend.CRDOptions{
			Client: o.client.client, Store: o.store, Partition: set.Partition, Log: o.opts.Log, Events: o.client.events,
		}).Run, nil
	}
	return backend.NewConfigMap(backend.ConfigMapOptions{
		Client: o.client.configMaps, Store: o.store, Grace: set.AWSAuthGracePeriod, SnapshotDir: set.SnapshotDir, ClusterID: set.ClusterID,
		Log: o.opts.Log, Metrics: o.metrics, Events: o.client.events,
	}).Run, nil
}

// mounted opens the table of the configuration file, which is in force at once.
func (o *opener) mounted() (func(context.Context), error) {
	set := &o.opts.Settings
	loaded, info := set.Mounted, set.ConfigInfo
	if o.later && set.ConfigFile != "" {
		return func(ctx context.Context) {
			backend.FollowMounted(ctx, set.ConfigFile, nil, mapping.Mappings{}, o.store, nil)
		}, nil
	}
	if err := backend.CheckMounted(loaded); err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	o.store.Set(mapping.BackendMountedFile, loaded, nil, "")
	return func(ctx context.Context) {
		if set.ConfigFile != "" {
			backend.FollowMounted(ctx, set.ConfigFile, info, loaded, o.store, nil)
		}
	}, nil
}
