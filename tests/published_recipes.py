"""How the papers train, recipe by recipe, and where their figures are printed; for the tests of the recipes."""

import math


def falls(rate: float, factor: float, *epochs: int):
    return lambda epoch: rate * factor ** sum(epoch >= fall for fall in epochs)


def cosine(rate: float, epochs: int, lowest: float = 0.0):
    return lambda epoch: lowest + (rate - lowest) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def warm_up(start: float, epochs: int, rate: float, then):
    return lambda epoch: start + (rate - start) * epoch / epochs if epoch < epochs else then(epoch)


def sgd(rates, epochs: int, batch: int, decay: float = 1e-4, nesterov: bool = False) -> dict:
    return {"rates": rates, "epochs": epochs, "batch": batch, "decay": decay, "nesterov": nesterov}


SOSR_CIFAR = sgd(falls(0.1, 0.1, 150, 225), 300, 128)
SOSR_IMAGENET = sgd(falls(0.1, 0.1, 75, 150, 225), 300, 256)
OLS_CIFAR = sgd(falls(0.1, 0.1, 150, 225), 300, 128, decay=5e-4, nesterov=True)
OLS_IMAGENET = sgd(falls(0.1, 0.1, 75, 150, 225), 250, 256, nesterov=True)
OLS_FINE_GRAINED = sgd(falls(0.01, 0.1, 45, 80), 100, 64)
MAXSUP_CIFAR = sgd(falls(0.1, 0.2, 60, 120, 160), 200, 128, decay=5e-4)
MAXSUP_IMAGENET = sgd(cosine(0.85, 200), 200, 2048)
LONG_TAIL = sgd(warm_up(0.2 / 3, 5, 0.2, falls(0.2, 0.01, 120, 160)), 200, 256, decay=5e-4)
DEIT = {"rates": warm_up(1e-6, 5, 1e-3, cosine(1e-3, 300, 1e-5)), "epochs": 300, "batch": 1024, "decay": 0.05}

TABLE_1 = ("vgg19_bn", "resnet56", "resnet110", "regnetx_200mf", "densenet_100_12", "wrn_28_10", "se_resnet110")
TABLE_1 += ("pyramidnet_110_48", "pyramidnet_110_84", "mobilenet", "mobilenetv2")
FINE_GRAINED = {"cub200/resnet50_ols": "cub", "flowers102/resnet50": "flowers"}
FINE_GRAINED |= {"stanford_cars/resnet50": "cars", "aircraft/resnet50": "aircraft"}
FINE_GRAINED_MOBILE = {"cub200/mobilenetv2": "cub", "flowers102/mobilenetv2": "flowers"}
FINE_GRAINED_MOBILE |= {"stanford_cars/mobilenetv2": "cars", "aircraft/mobilenetv2": "aircraft"}

# recipe -> how its source trains, and where its figures are printed: tables, and what to look for in their rows
PUBLISHED = {f"cifar100/cifar_{name}": (SOSR_CIFAR, ("sosr_t1", "sosr_t5"), {"model": name}) for name in TABLE_1}
PUBLISHED |= {
    f"tiny_imagenet/cifar_resnet{depth}": (SOSR_CIFAR, ("sosr_t2",), {"model": f"resnet{depth}"}) for depth in (56, 110)
}
PUBLISHED |= {
    f"imagenet/sosr_resnet{depth}": (SOSR_IMAGENET, ("sosr_t3",), {"model": f"resnet{depth}"}) for depth in (18, 50)
}
PUBLISHED["cub200/resnet50"] = (
    sgd(falls(0.001, 0.1, 30, 60, 90), 95, 16),
    ("sosr_t4",),
    {"model": "resnet50_imagenet_pretrained"},
)
OLS_SECONDARY = ("ols_cifar100_secondary", "ols_official_logs")
PUBLISHED |= {
    "cifar100/cifar_resnet34": (OLS_CIFAR, OLS_SECONDARY, {"model": "resnet34_imagenet_type"}),
    "cifar100/cifar_resnext29_2x64d": (OLS_CIFAR, OLS_SECONDARY, {"model": "resnext29_2x64d"}),
    "cifar100/cifar_resnet56_ols": (OLS_CIFAR, OLS_SECONDARY, {"model": "resnet56"}),
}
PUBLISHED |= {
    f"imagenet/resnet{depth}_ols": (OLS_IMAGENET, ("ols_imagenet_secondary",), {"model": f"resnet{depth}"})
    for depth in (50, 101)
}
PUBLISHED |= {
    name: (
        OLS_FINE_GRAINED,
        ("ols_t6_finegrained_top1", "maxsup_t6_finegrained"),
        {"dataset": short, "model": ("resnet50", "resnet50_inferred")},
    )
    for name, short in FINE_GRAINED.items()
}
PUBLISHED |= {
    name: (OLS_FINE_GRAINED, ("ols_t6_finegrained_top1",), {"dataset": short, "model": "mobilenetv2"})
    for name, short in FINE_GRAINED_MOBILE.items()
}
PUBLISHED |= {
    f"cifar100/cifar_{model}{'_maxsup' if model == 'mobilenetv2' else ''}": (
        MAXSUP_CIFAR,
        ("maxsup_t4_cifar100",),
        {"model": model},
    )
    for model in ("resnet18", "resnet50", "resnet101", "mobilenetv2")
}
PUBLISHED |= {
    f"imagenet/{model}_maxsup": (MAXSUP_IMAGENET, ("maxsup_t4_imagenet",), {"model": model})
    for model in ("resnet18", "resnet50", "resnet101", "mobilenetv2")
}
PUBLISHED["imagenet/deit_small_maxsup"] = (DEIT, ("maxsup_t5_deit",), {"model": "deit_small"})
PUBLISHED["cifar10/cifar_resnet32"] = (LONG_TAIL, ("maxsup_t7_longtail",), {"split": "test", "imbalance": 100})
PUBLISHED["cifar10/cifar_resnet32_causal_norm"] = PUBLISHED["cifar10/cifar_resnet32"]
