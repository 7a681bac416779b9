"""Sources of the objects: files, standard input, kustomize, a cluster; and docker's copies of images."""
