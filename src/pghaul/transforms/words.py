"""Words that fake data is made of: common names and made-up places, nobody's in particular."""

from __future__ import annotations

from collections.abc import Mapping

from pghaul.model.transforming import Tongue


def _of(words: str) -> tuple[str, ...]:
    return tuple(words.split())


KINDS = ("Street", "Road", "Lane", "Avenue")
FIRST: Mapping[Tongue, tuple[str, ...]] = {
    Tongue.EN: _of(
        "Alice Amy Anna Arthur Ben Carl Clara David Dora Edith Edwin Ella Emma Eric Eva Felix Flora Frank Grace Hannah"
        " Harry Helen Henry Ida Irene Ivan Jack Jane Joan John Julia Karl Kate Laura Leo Lily Linda Louis Lucy Marc"
        " Maria Mary Max Mia Nina Nora Oliver Oscar Paul Peter Rita Robert Rosa Ruth Sara Simon Sophie Susan Thomas"
        " Tina Victor Walter Wendy Zoe"
    ),
    Tongue.KO: _of(
        "가람 건우 경민 규리 나래 나연 다온 다은 도윤 도현 동현 라희 민서 민재 민준 보람 서연 서윤 서준 서현 선우 성민"
        " 세아 소연 소율 수민 수빈 수아 승현 시우 시윤 아름 아린 연우 영호 예린 예준 우진 유나 유진 윤서 은서 은지"
        " 은호 이안 재민 재현 정우 주원 준서 준호 지민 지아 지우 지원 지호 채원 태윤 하늘 하율 하은 하준 현우 혜원"
    ),
}
LAST: Mapping[Tongue, tuple[str, ...]] = {
    Tongue.EN: _of(
        "Adams Archer Baker Barnes Bell Bishop Brook Brown Carter Clark Cole Cook Cooper Cross Dale Day Dean Ellis"
        " Field Fisher Ford Foster Fox Gardner Grant Gray Green Hall Hart Hill Holt Hughes Hunt Kent King Lake Lane"
        " Lee Long Marsh Mason Miller Moore Nash North Page Park Parker Reed Rice Rose Shaw Smith Stone Taylor Turner"
        " Wade Walker Ward Webb West White Wood Young"
    ),
    Tongue.KO: _of(
        "강 고 곽 구 권 김 나 남 노 류 문 박 배 백 서 손 송 신 심 안 양 오 유 윤 이 임 장 전 정 조 차 최 한 허 홍 황"
    ),
}
STREETS: Mapping[Tongue, tuple[str, ...]] = {
    Tongue.EN: tuple(
        f"{name} {kind}"
        for name in _of("Ash Birch Cedar Church Elm Garden Hill Lake Maple Mill Oak Park Pine River School Spring")
        for kind in KINDS
    ),
    Tongue.KO: _of(
        "가온로 강변로 개나리길 공원로 느티나무길 다리길 달빛로 도담길 들꽃길 무지개로 물빛로 바람길 별내길 봄내길"
        " 새싹로 샘터길 소나무길 솔숲길 안개길 은행나무길 이슬로 중앙로 진달래길 하늘로 한빛로 호수로 햇살로"
    ),
}
CITIES: Mapping[Tongue, tuple[str, ...]] = {
    Tongue.EN: _of(
        "Ashford Brookfield Clearwater Eastbury Fairview Greenfield Hillcrest Kingsport Lakeside Millbrook Newbridge"
        " Northwood Oakdale Riverside Southport Springdale Stonebridge Westfield Whitecliff Woodhaven"
    ),
    Tongue.KO: _of(
        "가람시 나래시 다솜시 도담시 라온시 마루시 미리내시 바다시 새벽시 소담시 아라시 여울시 온누리시 은하시 초롱시"
        " 푸른시 하나시 한울시 해오름시 흰돌시"
    ),
}
COMPANIES: Mapping[Tongue, tuple[str, ...]] = {
    Tongue.EN: _of(
        "Alder Beacon Bluebell Cobalt Copper Crescent Dawn Ember Falcon Granite Harbor Indigo Juniper Lantern Meadow"
        " Northstar Orchard Pebble Quartz Raven Sable Summit Thistle Umber Vista Willow"
    ),
    Tongue.KO: _of(
        "가온 구름 나무 다올 두리 라온 마루 모아 미르 보라 비단 새길 샛별 소리 슬기 아침 여명 온빛 은하 이음 초록 큰솔"
        " 푸름 한결 한솔"
    ),
}
TRADES: Mapping[Tongue, tuple[str, ...]] = {
    Tongue.EN: ("Foods", "Systems", "Trading", "Works", "Logistics", "Energy", "Textiles", "Partners"),
    Tongue.KO: ("식품", "시스템", "상사", "산업", "물류", "에너지", "섬유", "건설"),
}
