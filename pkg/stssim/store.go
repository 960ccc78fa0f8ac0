package stssim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// MarshalJSON returns the State as it stands in its file, secrets included.
func (s *State) MarshalJSON() ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return json.Marshal(s.data)
}

// UnmarshalJSON replaces the State's contents. On an error nothing changes.
func (s *State) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var data stateData
	if err := dec.Decode(&data); err != nil {
		return err
	}
	return s.adopt(data)
}

// Load reads a State from its file. A file that is missing is reported with
// fs.ErrNotExist. The clock is time.Now if now is nil.
func Load(path string, now func() time.Time) (*State, error) {
	if now == nil {
		now = time.Now
	}
	s := &State{now: now}
	if err := s.Reload(path); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload replaces the State's contents by those of the file, also under a
// Server that is answering. On an error nothing changes.
func (s *State) Reload(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the simulated STS's state: %w", err)
	}
	if err := s.UnmarshalJSON(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Save writes the State to its file, with mode 0600, all or nothing.
func (s *State) Save(path string) error {
	b, err := s.MarshalJSON()
	if err != nil {
		return fmt.Errorf("save the simulated STS's state: %w", err)
	}
	if _, err := atomicfile.Write(path, b, atomicfile.Private); err != nil {
		return fmt.Errorf("save the simulated STS's state: %w", err)
	}
	return nil
}
