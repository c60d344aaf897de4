package main

// fileOperations work with the rights of a user.
var fileOperations = map[string]func(*stream, *request, identity) (any, error){}
