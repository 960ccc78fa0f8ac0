package faults_test

import "time"

// floodFor is how long a flood lasts.
const floodFor = 3 * time.Second

// memoryLimit is what the chart gives the authenticator.
const memoryLimit = 256 << 20
