// Command coredns stands where CoreDNS would be in a lab's clusters: it is
// healthy, and resolves nothing. kubeadm insists on the image and deploys it, but
// nothing in a lab has a name that DNS would know.
package main

import (
	"log"
	"net/http"
)

func main() {
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	go func() { log.Fatal(http.ListenAndServe(":8181", ok)) }() // /ready
	log.Fatal(http.ListenAndServe(":8080", ok))                 // /health
}
