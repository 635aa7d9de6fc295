"""What in the source may copy or wait, and which tests are the CPU's alone, each with its reason (see `suite.py`)."""

# Where minigrad and optim copy between host and device, or wait for a value: the beginning of "file function". A place
# that is not here fails every test that comes by; one that nothing comes by fails the run.
# fmt: off
COSTS = {
    # made on the host and copied, once
    "minigrad/nn/attention.py MultiheadAttention.__init__":  "initial values",
    "minigrad/nn/convolution.py Conv2d.__init__":            "initial values",
    "minigrad/nn/init.py fill":                              "initial values",
    "minigrad/nn/linear.py Linear.__init__":                 "initial values",
    "minigrad/nn/normalization.py BatchNorm.__init__":       "initial values",
    "minigrad/nn/normalization.py LayerNorm.__init__":       "initial values",
    "minigrad/nn/parameter.py Parameter.__init__":           "initial values",
    "minigrad/nn/recurrent.py Recurrent.__init__":           "initial values",
    "minigrad/nn/sparse.py Embedding.__init__":              "initial values",
    "minigrad/nn/module.py Module.register_buffer":          "initial values",
    # moves that were asked for
    "minigrad/nn/module.py Module.to":                       "a move",
    "minigrad/ops/shapes.py _moved":                         "a move: x.to, and its gradient's way back",
    "minigrad/chores.py start":                              "an output's gradient given as numbers",
    "minigrad/chores.py run_hooks":                          "shows what a hook returned by mistake",
    "minigrad/functional/losses.py classes_last":            "classes given as a list, or as a number",
    "minigrad/data.py":                                      "a batch of numbers becomes a Tensor",
    # files, and what is loaded from them
    "minigrad/saving.py flatten":                            "what is saved goes to a file",
    "minigrad/nn/module.py Module.load_state_dict":          "what is loaded goes where the module lies",
    "optim/optimizer.py Optimizer.checked":                 "shows a state that does not fit",
    "optim/averaged.py moved":                               "what is loaded goes where the parameters lie",
    "optim/checks.py as_saved":                              "what is loaded goes where the parameters lie",
    # looks at derivatives, for a person or a test
    "minigrad/anomaly.py":                                   "looks at every value: that is what it is for",
    "minigrad/checking.py":                                  "compares numbers with difference quotients",
    "minigrad/derivatives.py":                               "what a user gives as a list or number becomes a Tensor",
    "minigrad/explain.py":                                   "prints",
    "minigrad/graph.py":                                     "prints",
    "minigrad/training.py evaluate":                         "the loss of each batch, to add up",
    "minigrad/training.py accuracy":                         "the metric, once",
    "minigrad/history.py History.saw_epoch":                 "losses and norms of an epoch, at its end",
    "minigrad/nn/parameter.py Parameter.__repr__":           "prints",
    "optim/landscape":                                       "numbers to draw and to print",
    "optim/trajectory":                                      "a path to draw",
    # values that decide, in a step: docs/gpu.md has their number
    "minigrad/nn/utils.py clip_grad_norm_":                  "with error_if_nonfinite=True: is it finite?",
    "minigrad/row.py":                                      "backward of an index that a test gave: a list is copied, a mask waits",
    "minigrad/ops/linalg.py cofactors":                      "is the matrix singular?",
    "optim/line_search.py":                                  "which point is lower?",
    "optim/newton.py":                                       "is the matrix positive, does the direction go down?",
    "optim/quasi_newton.py QuasiNewton.iterate":             "is the curvature positive, is the gradient small?",
    "optim/second_order.py":                                 "the value and slope, for a line search",
    "optim/natural_gradient.py":                             "is the residual small enough?",
    "optim/kfac.py":                                         "how far to trust the model",
    "optim/likelihoods.py uniform":                          "the classes that K-FAC draws are drawn on the host",
}

# Files that run on the CPU whatever the device: they measure time and memory, or start programs of their own.
NOT_ASKED = {
    "tests/cupy":               "compares the two worlds itself",
    "tests/gpu":                "wants a GPU",
    "tests/optim/distributed":  "starts processes; its test_device.py brings a double of its own",
    "tests/test_docs.py":       "reads pages",
    "tests/test_benchmarks.py": "the benchmarks set NumPy by hand beside the engine",
    "tests/test_examples.py":   "programs that draw; the one with --device runs in tests/cupy",
    "tests/test_resume.py":     "the run goes on in another process, which is the CPU's",
}

# Tests that fail on a device, as they should, by a part of their name: one of those with that part at least.
NAN    = "a matrix that cannot be decomposed gives NaN on a device"
SHARED = "the array is the host's own, shared"
CPU    = "prints the device, which is the CPU"
UNSEEN = "one of its values is not looked at on a device, where that is a wait"
ARRAYS = "calls with NumPy's arrays alone, which stay on the host, beside a Tensor that does not"
REFUSED = {
    "device=cpu": "takes a Tensor back to the CPU and goes on with it there",
    "[minigrad.ops.shapes.moved-x]": "takes a Tensor back to the CPU and goes on with it there",
    "[to_winners(": "the case's arrays are the host's; tests/cupy/test_ops.py moves them",
    "[of_winners(": "the case's arrays are the host's; tests/cupy/test_ops.py moves them",
    "[minigrad.ops.windows.to_winners": "the case's arrays are the host's; tests/cupy/test_ops.py moves them",
    "[minigrad.ops.windows.of_winners": "the case's arrays are the host's; tests/cupy/test_ops.py moves them",
    "tests/ops/test_special_points.py::test_matrices_that_cannot_be_inverted_or_factored_are_refused_by_name": NAN,
    "tests/ops/test_special_points.py::test_erf_without_scipy_is_as_exact": "CuPy has its own erf, without SciPy",
    "tests/optim/test_kfac.py::test_what_is_refused_changes_nothing": NAN,
    "tests/optim/test_natural_gradient.py::test_what_is_refused_changes_nothing": NAN,
    "tests/optim/test_optimizer.py::test_adams_memory_is_two_arrays_and_no_more_than_2_mb": "no blocks on a device",
    "tests/test_anomaly.py::test_it_ends_with_its_block_also_after_an_error": "NumPy's warnings, which CuPy does not give",
    "tests/test_data.py::test_a_tensor_data_set_pairs_elements_and_shares_its_arrays": SHARED,
    "tests/test_bad_calls.py::test_a_bad_call_names_the_culprit_and_changes_nothing": UNSEEN,
    "tests/optim/test_invariants.py::test_parameters_that_do_not_lie_in_order_are_updated_where_they_lie": SHARED,
    "tests/test_tensor.py::test_detach_shares_the_data_and_numpy_hands_them_out": SHARED,
    "tests/test_tensor.py::test_repr_shows_values_dtype_device_and_the_op_that_made_it": CPU,
    "tests/test_tensor.py::test_python_numbers_come_out_of_one_element": CPU,
    "tests/test_engine.py::test_a_scalar_numpy_returns_becomes_an_array_before_a_rule_sees_it": "a device has no scalars",
    "tests/nn/test_layers.py::test_a_layer_refuses_a_bad_input_and_says_what_it_wants": UNSEEN,
    "tests/functional/test_edges.py::test_a_bad_call_names_the_function_and_the_value": UNSEEN,
    "tests/functional/test_fused.py::test_given_an_array_it_gives_an_array": ARRAYS,
}
# fmt: on
