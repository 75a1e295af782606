if __name__ != "rmqd.store":  # a second copy of the same classes would be loaded from the checkout's root
    raise ImportError("import this package as rmqd.store")
