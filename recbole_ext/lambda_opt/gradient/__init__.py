"""Gradients of the validation loss with respect to λ, and the optimiser steps they go through."""
