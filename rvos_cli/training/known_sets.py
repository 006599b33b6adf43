"""What is known of the sets that the shipped weights learned from: how they are labelled, and how often each is drawn.

Sets of other names, of one's own, count as wholly labelled and are drawn by their size alone.
"""

from __future__ import annotations

# Sets in which more can be seen than is labelled: good for following, not for learning that nothing else is there.
PARTLY_LABELLED_CLIPS = frozenset({"ytvos_ffvi", "xmem2/chair", "segtrack2_jup"})
PARTLY_LABELLED_PAIRS = frozenset({"coco_person", "ccp_fashion", "camvid_things", "bsds_regions"})
# Sets whose labels are not one thing each, so that not even what is labelled is an example of what one object is, nor
# can be cut out.
SHARED_LABELS = frozenset({"camvid_things", "bsds_regions"})
# Clips in which things that belong together, a rider and the bicycle, share one label: good for following, no example
# of what one object is. How many things each shows is told by DAVIS 2017, which labels the same clips thing by thing.
MERGED_CLIPS = frozenset(
    {"davis2016/bmx-bumps", "davis2016/hockey", "davis2016/horsejump-low", "davis2016/kite-walk"}
    | {"davis2016/motocross-bumps", "davis2016/motorbike", "davis2016/paragliding", "davis2016/scooter-gray"}
    | {"davis2016/stroller", "davis2016/surf", "davis2016/swing", "davis2016/tennis", "davis2016/train"}
)
# How often they are drawn, beside other clips, once some of them are taken apart (parts.py), and how often these are:
# they teach following too and are among the few real clips that tell touching things apart.
MERGED_FAVOUR, DIVIDED_FAVOUR = 0.5, 1.5
# Background sets, and single pictures of others, that show things of their own, which nobody has labelled.
OCCUPIED_BACKGROUNDS = frozenset(
    {"imagenet_sample", "openimages_crop", "grocery_natural", "kodak24", "elementary-unsplash", "mate-backgrounds"}
    | {"lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "pop-os-wallpapers", "deepin-unsplash"}
    | {"elementary-wallpapers/Mr__Lee", "elementary-wallpapers/Photo_by_SpaceX", "ukui-wallpapers/calla"}
    | {"ukui-wallpapers/goldfish", "lxqt-themes/Butterfly-Kenneth-Wimer", "lxqt-themes/appleflower"}
    | {"lxqt-themes/butterfly", "plasma-workspace-wallpapers/Autumn", "plasma-workspace-wallpapers/ColorfulCups"}
    | {"plasma-workspace-wallpapers/EveningGlow", "plasma-workspace-wallpapers/FallenLeaf"}
    | {"plasma-workspace-wallpapers/Kite", "plasma-workspace-wallpapers/OneStandsOut"}
    | {f"urban100/img_{n}_SRF_2_HR" for n in ("003", "007", "024", "028", "032", "037", "044", "093", "095")}
    | {f"sunhays80/img_{n}_SRF_8_HR" for n in ("004", "013", "015", "022", "034", "039", "043", "052")}
    | {f"sunhays80/img_{n}_SRF_8_HR" for n in ("053", "055", "062", "065", "066", "075", "078", "080")}
)
# Drawings, renderings and turntable fruit: the most that each may have of the cut-outs drawn.
CUTOUT_CAPS = {"openclipart": 0.05, "fluent_emoji_3d": 0.10, "fruits360": 0.08, "grocery_iconic": 0.06}
# How often a set is drawn, beyond the square root of its size.
FAVOURS = {
    "bsds_regions": 0.5,
    "camvid_things": 0.7,
    "coco": 2.0,
    "davis2017_first_frames": 2.5,
    "grocery_natural": 0.5,
    "ccp_fashion": 0.6,
    "imagenet_sample": 0.7,
}
