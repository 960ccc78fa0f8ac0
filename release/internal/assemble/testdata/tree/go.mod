module github.com/capiam/capiam

go 1.26.0
